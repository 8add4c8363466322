import { type ColumnType, type Generated, Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { type Piece, runBatch } from './batch.ts'
import type { Embedded } from './embedded.ts'
import { Lanes } from './lanes.ts'
import { isMigrated, migrateToLatest } from './migrations/index.ts'
import { unavailable } from './problem.ts'
import {
  grantRoles,
  missingGrants,
  type Role,
  type RoleTables,
  SERVICE_ROLE,
  unprotectedTables,
  USER_ROLE,
} from './row-level-security.ts'

/** Written by the scope alone: no insert or update can name it. */
type UserId = ColumnType<string, never, never>
/** Made by the database, and never changed. */
type Id = ColumnType<number, never, never>
/** Comes out as an ISO 8601 string in UTC. */
type Timestamp = ColumnType<string, never, string>

interface TaskTable {
  user_id: UserId
  id: Id
  title: string
  description: string | null
  completed: Generated<boolean>
  created_at: ColumnType<string, never, never>
  updated_at: Timestamp
}

/** Tables whose rows belong to the user in `user_id`: reached only through a UserScope (src/isolation.ts). */
export interface OwnedTables {
  tasks: TaskTable
}

/** The same for the run-time walls. TypeScript keeps the two lists equal. */
export const ownedTables: Record<keyof OwnedTables, true> = { tasks: true }

interface AccountTable {
  id: string
  /** In lower case. */
  email: string
  name: string
  /** bcrypt. */
  password: string
  active: Generated<boolean>
  created_at: ColumnType<string, never, never>
}

interface RefreshTokenTable {
  /** SHA-256 of the token, in hexadecimal: the token itself is not kept. */
  hash: string
  /** All tokens that came from one sign-in. */
  family: string
  account_id: string
  expires_at: Date
  spent_at: Date | null
}

/** Tables that belong to nobody: statements on them are bound to no user. */
export interface SharedTables {
  accounts: AccountTable
  refresh_tokens: RefreshTokenTable
}

export const sharedTables: Record<keyof SharedTables, true> = { accounts: true, refresh_tokens: true }

export interface DatabaseOptions {
  /** `postgres://…`, or for the embedded PostgreSQL `pglite:DIRECTORY` or `pglite:memory`. */
  url: string
  /** Connections to PostgreSQL, 1–1000. The embedded one has one. Default 10. */
  poolMax?: number
  /** Whether statements run under roles of their own (the third wall), or as the login. Default true. */
  rls?: boolean
  /** After this time a scoped statement is cancelled, in milliseconds. Default 5000. */
  statementTimeout?: number
  /** Whether statements are prepared once and named; off for poolers that do not carry them. Default true. */
  prepare?: boolean
  /** Told of a connection that broke while idle. The pool has dropped it already. */
  onConnectionError?: (error: Error) => void
}

/** A statement with what it is run with: src/isolation.ts makes those that the guard has proved. */
export interface Step extends Piece {
  /** Whose rows it may see and take; empty for the tables that belong to nobody. */
  readonly userId: string
  readonly role: Role
  /** Whether it changes anything, and so waits for the disk: it takes another connection then. Default false. */
  readonly writes?: boolean
}

export interface Database {
  readonly embedded: boolean
  readonly rls: boolean
  /** Runs statements in one transaction, all written to the wire at once. Returns the rows of each. */
  run(steps: readonly Step[]): Promise<unknown[][]>
  /** Brings the schema up to date; several instances may call it at once. Returns the migrations that were run. */
  migrate(): Promise<string[]>
  /**
   * Checks that the database answers, has the latest migration and lets the login take the roles that statements run under.
   * @throws Problem 503 that says which of these fails
   */
  check(): Promise<void>
  /** What keeps the third wall from standing, one sentence each, with the SQL or command that mends it. */
  diagnose(): Promise<string[]>
  close(): Promise<void>
}

const CONNECT_TIMEOUT_MS = 3_000
const STATEMENT_TIMEOUT_MS = 5_000
// How much longer to wait for a server that should have ended a statement by itself, but does not answer at all.
const ANSWER_TIMEOUT_MS = 1_000

const roles: RoleTables = {
  [USER_ROLE]: Object.keys(ownedTables),
  [SERVICE_ROLE]: Object.keys(sharedTables),
}

const SETTINGS = {
  name: 'settings',
  sql: "select set_config('app.user_id', $1, true), set_config('statement_timeout', $2, true)",
}
const SETTINGS_WITH_ROLE = {
  name: 'settings_with_role',
  sql: `${SETTINGS.sql}, set_config('role', $3, true)`,
}

// PostgreSQL in WebAssembly: not loaded where it is not used.
async function openEmbedded(url: string): Promise<Embedded> {
  const embedded = await import('./embedded.ts')
  return embedded.openEmbedded(url.slice('pglite:'.length))
}

// What pg does of itself for these modes, but with a warning on standard error that they may be weakened one day.
function verifyCertificate(url: string): string {
  return url.replace(/([?&]sslmode=)(prefer|require|verify-ca)(?=&|$)/, '$1verify-full')
}

/** Opens the database, without connecting yet (PostgreSQL) or at once (the embedded one, which takes seconds). */
export async function connect({
  url,
  poolMax = 10,
  rls = true,
  statementTimeout = STATEMENT_TIMEOUT_MS,
  prepare = true,
  onConnectionError,
}: DatabaseOptions): Promise<Database> {
  const embedded = url.startsWith('pglite:') ? await openEmbedded(url) : undefined
  const config: pg.PoolConfig = {
    ...(embedded ? embedded.config : { connectionString: verifyCertificate(url), max: poolMax }),
    application_name: 'taskward',
    pipeline: true,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  }
  const settings = rls ? SETTINGS_WITH_ROLE : SETTINGS
  const pool = openPool(config)
  const lanes = new Lanes(pool, embedded ? 1 : poolMax, statementTimeout + ANSWER_TIMEOUT_MS)

  function openPool(config: pg.PoolConfig): pg.Pool {
    const pool = new pg.Pool(config)
    // Without listeners, a connection that breaks while idle, or between two statements, would end the process.
    pool.on('error', (error) => onConnectionError?.(error))
    pool.on('connect', (client) => client.on('error', () => {}))
    return pool
  }

  async function run(steps: readonly Step[]): Promise<unknown[][]> {
    const pieces: Piece[] = []
    let writes = false
    for (const step of steps) {
      pieces.push(settingsOf(step), prepare ? step : { ...step, name: '' })
      if (step.writes) writes = true
    }
    const rows = await lanes.run(writes, (client) => runBatch(client, pieces))
    return steps.map((_, i) => rows[2 * i + 1] as unknown[])
  }

  /** What holds for a statement, until its transaction ends: whose rows, under which role, and for how long. */
  function settingsOf({ userId, role }: Step): Piece {
    const name = prepare ? settings.name : ''
    const parameters = rls ? [userId, statementTimeout, role] : [userId, statementTimeout]
    return { name, sql: settings.sql, parameters }
  }

  /**
   * For what is no compiled statement, and run by the login itself: migrations, and checks of the schema. On a
   * connection of its own, as migrations may take longer than requests; the embedded database has but one.
   * @param timeout milliseconds for each query; undefined for no limit
   */
  async function asLogin<T>(use: (db: Kysely<never>) => Promise<T>, timeout?: number): Promise<T> {
    const own = embedded ? pool : openPool({ ...config, max: 1, query_timeout: timeout })
    try {
      return await use(new Kysely<never>({ dialect: new PostgresDialect({ pool: own }) }))
    } finally {
      if (!embedded) await own.end()
    }
  }

  const migrate = () =>
    asLogin(async (db) => {
      const done = await migrateToLatest(db)
      if (rls) await grantRoles(db, roles)
      return done
    })

  let migrated = false // once true it stays so

  async function check(): Promise<void> {
    migrated ||= await asLogin(isMigrated, statementTimeout)
    if (!migrated) {
      throw unavailable('not_migrated', 'The database lacks migrations. Run: npm run migrate')
    }
    // The whole way of a scoped statement: connection, settings, role.
    const probe = { userId: '', name: 'readiness', sql: 'select 1', parameters: [] }
    await run([
      { ...probe, role: USER_ROLE },
      { ...probe, role: SERVICE_ROLE },
    ]).catch((error) => {
      if (!['42501', '22023'].includes(error.code)) throw error // not permitted, no such role
      const detail = 'The login may not take the roles that statements run under. Run: npm run doctor'
      throw unavailable('role_missing', detail, error)
    })
  }

  const diagnose = () =>
    asLogin(async (db) => {
      if (!(await isMigrated(db))) return ['The database lacks migrations. Run: npm run migrate']
      const faults = (await unprotectedTables(db, roles[USER_ROLE])).map(
        (table) =>
          `Row-level security is not forced on ${table}. Its migration should call protect(db, '${table}').`,
      )
      const grants = rls ? await missingGrants(db, roles) : []
      return [
        ...faults,
        ...grants.map((grant) => `The owner of the database, or an administrator, must run: ${grant}`),
      ]
    }, statementTimeout)

  return {
    embedded: embedded !== undefined,
    rls,
    run,
    migrate,
    check,
    diagnose,
    async close() {
      lanes.close()
      await pool.end()
      await embedded?.close()
    },
  }
}
