import { ScopedStatement, type Statement, type UserScope } from './isolation/index.ts'

// The last one of each user: the next one waits for it.
const lastOf = new Map<string | undefined, Promise<unknown>>()

/**
 * Reads one row for which PostgreSQL may have to look at all rows of the user: one after the other of each user. With very
 * many rows each keeps a core of the database busy, and nobody knows that before the first one has taken its time.
 */
export async function readWhole<Values, Row>(
  scope: UserScope,
  statement: Statement<Values, Row, 'owner'>,
  values: Values,
): Promise<Row> {
  const user = ScopedStatement.ownerOf(scope.bind(statement, values))
  const read = () => scope.one(statement, values)
  const before = lastOf.get(user)
  const row = before ? before.then(read) : read()
  const last = row
    .catch(() => {})
    .then(() => {
      if (lastOf.get(user) === last) lastOf.delete(user)
    })
  lastOf.set(user, last)
  return row
}
