import { ScopedStatement, type Statement, type UserScope } from './isolation/index.ts'
import { Queues } from './queues.ts'

const queues = new Queues<string | undefined>()

/**
 * Reads one row for which PostgreSQL may have to look at all rows of the user: one after the other of each user. With very
 * many rows each keeps a core of the database busy, and nobody knows that before the first one has taken its time.
 */
export function readWhole<Values, Row>(
  scope: UserScope,
  statement: Statement<Values, Row, 'owner'>,
  values: Values,
): Promise<Row> {
  const user = ScopedStatement.ownerOf(scope.bind(statement, values))
  return queues.run(user, () => scope.one(statement, values))
}
