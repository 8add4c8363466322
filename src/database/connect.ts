import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { type Runner, ScopedStatement } from '../isolation/index.ts'
import { Breaker } from './breaker.ts'
import { CHECK_TIMEOUT_MS, CheckConnection } from './check-connection.ts'
import type { Embedded } from './embedded.ts'
import { isAnswerLost, isRepeatable, isSilence, OutcomeUnknownError } from './faults.ts'
import { Multiplexer } from './multiplexer.ts'
import { sender } from './send.ts'

export interface DatabaseOptions {
  /** `postgres://…`, or for the embedded PostgreSQL `pglite:DIRECTORY` or `pglite:memory`. */
  url: string
  /** Connections to PostgreSQL, 1–1000. The embedded database has only one. Default 10. */
  poolMax?: number
  /** Whether statements run under roles of their own (the third wall), or as the login. Default true. */
  rls?: boolean
  /** Milliseconds after which a scoped statement is cancelled. Default 5000. */
  statementTimeout?: number
  /** Whether statements are named and prepared once; off for poolers that do not support that. Default true. */
  prepare?: boolean
  /** Shown in pg_stat_activity. */
  applicationName?: string
  /** Called for a connection that broke while idle; the pool has already dropped it. */
  onConnectionError?: (error: Error) => void
}

/** An open database. */
export interface Database extends Runner {
  readonly embedded: boolean
  /** Whether statements run under roles of their own. */
  readonly rls: boolean
  /** Milliseconds after which a scoped statement is cancelled. */
  readonly statementTimeout: number
  /** Whether the last write was given up because nothing came back. */
  readonly writesHang: boolean
  /**
   * Runs statements in one transaction, all written to the wire at once. Returns the rows of each. If the connection is
   * lost, they are run once more, unless they were sent and would change something.
   * @param sealed whether to prove that each statement ran in one transaction with its settings. Always proved if
   *   statements are not prepared. Default false
   * @throws at once while the server does not answer at all
   * @throws OutcomeUnknownError if they change something, were sent, and the connection was lost
   */
  run(statements: readonly ScopedStatement[], sealed?: boolean): Promise<unknown[][]>
  /**
   * For migrations and checks of the schema, whose statements are not proved: runs them with the rights of the login,
   * on a separate connection, because migrations may take longer than requests. The embedded database has only one
   * connection.
   *
   * @param timeout milliseconds for each query; undefined for no limit
   */
  asLogin<T>(use: (db: Kysely<never>) => Promise<T>, timeout?: number): Promise<T>
  /**
   * For checks while requests are served: the same on a connection that is kept and that no request uses, cut after a
   * second in all, and after a check that failed. There, `run` runs statements sealed. The embedded database has
   * only one connection, and no such limit.
   */
  check<T>(use: (db: Kysely<never>, run: Run) => Promise<T>): Promise<T>
  /** Cuts every connection that a statement is under way on: those statements fail. */
  interrupt(): void
  close(): Promise<void>
}

type Run = (statements: readonly ScopedStatement[]) => Promise<unknown[][]>

const CONNECT_TIMEOUT_MS = 3_000
const STATEMENT_TIMEOUT_MS = 5_000
// How much longer to wait for a server that should have cancelled a statement itself, but does not answer at all.
const ANSWER_TIMEOUT_MS = 500
// A batch that lost its connection is run again if that happened within this time, and after a pause, by when the other
// connections that broke with it are known to be broken.
const REPEAT_WITHIN_MS = 1_000
const REPEAT_AFTER_MS = 20
// How long to wait for idle connections to end, on a server that does not answer.
const CLOSE_TIMEOUT_MS = 1_000

// So that times come in one form, whatever the login has. Poolers keep these two settings for each client.
const SESSION = "set DateStyle = 'ISO'; set TimeZone = 'UTC'"

// PostgreSQL in WebAssembly: not loaded where it is not used.
async function openEmbedded(url: string): Promise<Embedded> {
  const embedded = await import('./embedded.ts')
  return embedded.openEmbedded(url.slice('pglite:'.length))
}

// pg treats these modes so anyway, but warns on standard error that a later version may weaken them.
function verifyCertificate(url: string): string {
  return url.replace(/([?&]sslmode=)(prefer|require|verify-ca)(?=&|$)/, '$1verify-full')
}

/**
 * Opens the database. PostgreSQL is connected to when first needed; the embedded database starts now, which takes
 * seconds.
 */
export async function connect({
  url,
  poolMax = 10,
  rls = true,
  statementTimeout = STATEMENT_TIMEOUT_MS,
  prepare = true,
  applicationName,
  onConnectionError,
}: DatabaseOptions): Promise<Database> {
  const embedded = url.startsWith('pglite:') ? await openEmbedded(url) : undefined
  const config: pg.PoolConfig = {
    ...(embedded ? embedded.config : { connectionString: verifyCertificate(url), max: poolMax }),
    application_name: applicationName,
    pipeline: true,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  }
  const pool = openPool(config)
  const multiplexer = new Multiplexer(pool, embedded ? 1 : poolMax, statementTimeout + ANSWER_TIMEOUT_MS)

  function openPool(config: pg.PoolConfig): pg.Pool {
    // Its type lacks the time-out.
    const session = { text: SESSION, query_timeout: config.query_timeout ?? CONNECT_TIMEOUT_MS }
    const onConnect = async (client: pg.ClientBase) => void (await client.query(session))
    const pool = new pg.Pool({ ...config, onConnect })
    // Without listeners, a connection that breaks while idle, or between two statements, would end the process.
    pool.on('error', (error) => onConnectionError?.(error))
    pool.on('connect', (client) => client.on('error', () => {}))
    return pool
  }

  const breaker = new Breaker(async () => {
    try {
      await asLogin((db) => sql`select 1`.execute(db), CHECK_TIMEOUT_MS)
    } catch (error) {
      if (isSilence(error)) throw error // a server that refuses makes nobody wait
    }
  })
  const send = sender({ statementTimeout, rls, prepare })
  let writesHang = false
  let interrupted = false

  async function run(statements: readonly ScopedStatement[], sealed = false): Promise<unknown[][]> {
    const started = performance.now()
    try {
      return await runOnce(statements, sealed, 0)
    } catch (error) {
      if (interrupted || !isRepeatable(error) || performance.now() - started > REPEAT_WITHIN_MS) throw error
    }
    await sleep(REPEAT_AFTER_MS)
    return runOnce(statements, sealed, performance.now() - started)
  }

  /** @param spent milliseconds of the statements' time that are over */
  async function runOnce(
    statements: readonly ScopedStatement[],
    sealed: boolean,
    spent: number,
  ): Promise<unknown[][]> {
    if (breaker.fault) throw breaker.fault
    const [first] = statements
    const user = first && ScopedStatement.ownerOf(first)
    const writes = statements.some((statement) => statement.writes)
    if (writes) embedded?.requireRoom()
    let written = false
    const onWrite = () => void (written = true)
    try {
      const rows = await multiplexer.run(writes, user, (client, queued) =>
        send(client, statements, { sealed, waited: queued + spent, onWrite }),
      )
      if (writes) writesHang = false
      return rows
    } catch (error) {
      if (isSilence(error)) {
        if (writes) writesHang = true
        breaker.suspect()
      }
      throw writes && written && isAnswerLost(error) ? new OutcomeUnknownError(error) : error
    }
  }

  function interrupt(): void {
    interrupted = true
    multiplexer.interrupt()
  }

  const loginOn = (pool: pg.Pool) => new Kysely<never>({ dialect: new PostgresDialect({ pool }) })

  async function asLogin<T>(use: (db: Kysely<never>) => Promise<T>, timeout?: number): Promise<T> {
    if (embedded) return use(loginOn(pool))
    const connectionTimeoutMillis = Math.min(timeout ?? Infinity, CONNECT_TIMEOUT_MS)
    const own = openPool({ ...config, max: 1, query_timeout: timeout, connectionTimeoutMillis })
    try {
      return await use(loginOn(own))
    } finally {
      await own.end()
    }
  }

  const checks = new CheckConnection(() =>
    openPool({
      ...config,
      max: 1,
      connectionTimeoutMillis: CHECK_TIMEOUT_MS,
      query_timeout: CHECK_TIMEOUT_MS, // also of onConnect
    }),
  )

  async function check<T>(use: (db: Kysely<never>, run: Run) => Promise<T>): Promise<T> {
    if (embedded) return use(loginOn(pool), (statements) => run(statements, true))
    return checks.use((own) =>
      use(loginOn(own), async (statements) => {
        const client = await own.connect()
        return send(client, statements, { sealed: true }).finally(() => client.release())
      }),
    )
  }

  return {
    embedded: embedded !== undefined,
    rls,
    statementTimeout,
    get writesHang() {
      return writesHang
    },
    run,
    asLogin,
    check,
    interrupt,
    async close() {
      multiplexer.close()
      interrupt()
      breaker.close()
      const ended = Promise.all([pool.end(), checks.end()])
      await Promise.race([ended, sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
      await embedded?.close()
    },
  }
}
