import pg from 'pg'
import type { Test } from 'tap'
import { openEmbedded } from '../../src/database/embedded.ts'
import { databaseUrl } from '../helper/database.ts'

export interface Outcome {
  /** PostgreSQL's code, if the statement failed. */
  error?: string
  rows: string[]
  /** Every row of all tables after the statement. */
  state: string[]
}

const USERS = ['alice', 'bob']

/** A database of two users without row-level security: shows what an accepted statement would do. */
export class Lab {
  readonly embedded: boolean
  readonly #client: pg.PoolClient
  readonly #owned: readonly string[]
  readonly #all: string
  #before: string[] = []

  private constructor(
    client: pg.PoolClient,
    { owned, shared }: { owned: readonly string[]; shared: readonly string[] },
    embedded: boolean,
  ) {
    this.embedded = embedded
    this.#client = client
    this.#owned = owned
    this.#all = [...owned, ...shared]
      .map((table) => `select '${table}' || to_jsonb(${table})::text as row from ${table}`)
      .join(' union all ')
  }

  static async open(
    t: Test,
    schema: string,
    tables: { owned: readonly string[]; shared: readonly string[] },
  ): Promise<Lab> {
    const url = await databaseUrl()
    const embedded = url.startsWith('pglite:') ? await openEmbedded(url.slice('pglite:'.length)) : undefined
    const pool = new pg.Pool(embedded ? embedded.config : { connectionString: url })
    const client = await pool.connect()
    t.teardown(async () => {
      client.release()
      await pool.end()
      await embedded?.close()
    })
    await client.query("set time zone 'UTC'")
    await client.query("set statement_timeout = '5s'")
    await client.query(schema)
    const lab = new Lab(client, tables, embedded !== undefined)
    lab.#before = (await lab.run('select 1', [])).state
    return lab
  }

  /** Runs a statement and rolls it back; given a user, on a database where no other user ever existed. */
  async run(text: string, values: readonly unknown[], user?: string): Promise<Outcome> {
    const others = this.#owned.map(
      (table) => `delete from ${table} where user_id is distinct from '${user}';`,
    )
    await this.#client.query(user ? `begin; ${others.join(' ')}` : 'begin')
    try {
      const { rows = [] } = await this.#client.query({ text, values: [...values], rowMode: 'array' })
      const { rows: state } = await this.#client.query(this.#all)
      const sorted = (list: string[]) => list.toSorted()
      return {
        rows: sorted(rows.map((row) => JSON.stringify(row))),
        state: sorted(state.map(({ row }) => row)),
      }
    } catch (error) {
      return { error: String((error as { code?: string }).code ?? error), rows: [], state: [] }
    } finally {
      await this.#client.query('rollback')
    }
  }

  /**
   * What a statement shows or changes of the other user: it must do the same as if the other had never existed.
   * @returns PostgreSQL's error code if it did not run
   */
  async leaksOf(
    text: string,
    values: readonly unknown[],
    user: string,
  ): Promise<{ error: string | undefined; leaks: string[] }> {
    const other = USERS.find((name) => name !== user) as string
    const given = text.includes('$1') ? [user, ...values] : []
    const both = await this.run(text, given)
    const alone = await this.run(text, given, user)
    const leaks: string[] = []
    // An insert shows that another's row has the id, or the title, because those are unique across users in these
    // tables.
    const conflict = both.error === '23505' || text.includes('on conflict')
    if (both.error !== alone.error && !conflict) leaks.push(`${user}: ${both.error} is not ${alone.error}`)
    if (both.error || alone.error) return { error: both.error ?? alone.error, leaks }
    const ofOther = (state: string[]) => state.filter((row) => this.#ofOther(row, other)).join('\n')
    if (ofOther(both.state) !== ofOther(this.#before)) leaks.push(`${user} changes rows of ${other}`)
    if (ofOther(alone.state) !== '') leaks.push(`${user} makes rows of ${other}`)
    const rest = (state: string[]) => state.filter((row) => !this.#ofOther(row, other)).join('\n')
    // Values that differ from run to run, such as now(), prove nothing.
    const seen = both.rows.find((row) => row.includes(`${other}-`))
    if (seen) leaks.push(`${user} sees ${seen}`)
    if (conflict) return { error: undefined, leaks }
    const again = await this.run(text, given)
    if (again.rows.join('\n') === both.rows.join('\n') && both.rows.join('\n') !== alone.rows.join('\n'))
      leaks.push(`${user} gets ${both.rows}, alone ${alone.rows}`)
    if (rest(again.state) === rest(both.state) && rest(both.state) !== rest(alone.state))
      leaks.push(`${user} leaves other rows than it does alone`)
    return { error: undefined, leaks }
  }

  #ofOther(row: string, other: string): boolean {
    return this.#owned.some((table) => row.startsWith(`${table}{`)) && row.includes(`"user_id": "${other}"`)
  }
}

/** A statement of statements.ts, and the values of $2, $3, … */
export function statementOf(line: string): { sql: string; values: string[] } {
  const [sql = '', values] = line.split(' <- ')
  const given = values?.split(' ; ') ?? []
  const most = Math.max(1, ...[...sql.matchAll(/\$(\d+)/g)].map(([, n]) => Number(n)))
  return { sql, values: Array.from({ length: most - 1 }, (_, i) => given[i] ?? '1') }
}
