import { createHash } from 'node:crypto'
import { type Compilable, sql } from 'kysely'
import { OutcomeUnknownError, sqlStateOf } from './database/index.ts'
import type { Given, Statement, UserScope } from './isolation/index.ts'
import { databaseUnavailable, HttpProblem } from './problem.ts'
import { type Mine, statement } from './tables.ts'

// Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): an insert that is repeated with its key is done once,
// and answered as it was then, for 24 hours.
//
// One statement writes the row and its key, so there are both or neither. Of several at once one is first: the primary
// key lets the others wait until it is committed, and then fail, with what they have inserted; they read what was made.
// The table holds no copy of the row. The answer is made again from the request, which is the same, the id and the time.
//
// No statement reaches the rows of all users, so each request with a key removes what is too old of its own user's.

/** A key and the hash of the request that came with it. */
interface Use {
  key: string
  request: string
}

/** What was made by the first request with a key. */
export interface First {
  user_id: string
  /** The id of the row. */
  made: number
  created_at: string
}

const find = statement((mine, { key }: Given<Pick<Use, 'key'>>) =>
  mine
    .selectFrom('idempotency_keys')
    .select(['user_id', 'request', 'made', 'created_at'])
    .where('key', '=', key),
)

const sweep = statement((mine) =>
  mine.deleteFrom('idempotency_keys').where('created_at', '<', sql<string>`now() - interval '24 hours'`),
)

/** An insert that makes a row once for each key. */
interface InsertOnce<Values, Row> {
  table: string
  insert: Statement<Values & Use, Row, 'owner'>
}

/**
 * Makes it from an insert into this table that returns the columns of the answer. The inner `returning` is for Citus:
 * without it, it copies what was selected, and PostgreSQL takes no copy where there are policies.
 */
export const insertOnce = <Row extends { id: number }, Values>(
  table: string,
  insert: (mine: Mine, given: Given<Values>) => Compilable<Row>,
): InsertOnce<Values, Row> => ({
  table,
  insert: statement<Row, Values & Use>(
    (mine, given) => sql<Row>`
      with made as (${insert(mine, given)}),
        used as (
          insert into idempotency_keys (user_id, key, request, made)
          select ${mine.owner.user_id}, ${given.key}, ${given.request}, id from made
          returning made
        )
      select * from made`,
  ),
})

/**
 * Inserts a row, unless that was done under the same key.
 *
 * @param again makes the answer of the first time from the same values
 * @param said what must be the same in each request with the key; default the values
 * @returns the row; `replayed` if it was made before
 * @throws HttpProblem 422 idempotency_key_reused if the values were others
 */
export async function once<Row extends { id: number; replayed?: true }, Values>(
  scope: UserScope,
  { table, insert }: InsertOnce<Values, Row>,
  values: Values,
  key: string,
  again: (first: First) => Row,
  said: unknown = values,
): Promise<Row & { replayed?: true }> {
  const request = createHash('sha256')
    .update(JSON.stringify([table, said]))
    .digest('base64url')
  try {
    const [, rows] = await scope.transaction([
      scope.bind(sweep, {}),
      scope.bind(insert, { ...values, key, request }),
    ])
    return rows?.[0] as Row
  } catch (error) {
    // The key makes it safe to repeat.
    if (error instanceof OutcomeUnknownError) throw databaseUnavailable(error.cause)
    const first = sqlStateOf(error) === '23505' ? await scope.first(find, { key }) : undefined
    if (!first) throw error
    if (first.request !== request) throw reused()
    return { ...again(first), replayed: true }
  }
}

/** The key in a header: it may stand in double quotes, with a backslash before each of `"` and `\` (RFC 8941, 3.3.3). */
export const keyIn = (header: string | undefined): string | undefined =>
  header?.startsWith('"') ? header.slice(1, -1).replaceAll(/\\(.)/g, '$1') : header

const reused = () =>
  new HttpProblem(422, 'idempotency_key_reused', 'This Idempotency-Key came with another body before.', {
    errors: [{ loc: ['header', 'idempotency-key'], msg: 'came with another body before', type: 'reused' }],
  })
