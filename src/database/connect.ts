import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { type Runner, ScopedStatement } from '../isolation/index.ts'
import { Breaker } from './breaker.ts'
import { CHECK_TIMEOUT_MS, CheckConnection } from './check-connection.ts'
import { Connections } from './connections.ts'
import type { Embedded } from './embedded.ts'
import {
  ForeignAnswerError,
  isAnswerLost,
  isLockTimeout,
  isRepeatable,
  isSilence,
  OutcomeUnknownError,
} from './faults.ts'
import { parseHosts } from './hosts.ts'
import type { KindName, Load } from './kinds.ts'
import { Multiplexer } from './multiplexer.ts'
import { pools } from './pools.ts'
import { Primary } from './primary.ts'
import { sender } from './send.ts'

export interface DatabaseOptions {
  /** `postgres://…`, also with several hosts, or for the embedded PostgreSQL `pglite:DIRECTORY` or `pglite:memory`. */
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
  /** What goes on at this moment. */
  state(): DatabaseState
  /**
   * Whether so many wait for a connection that statements which come now would wait in vain. They are run nevertheless:
   * to be asked before a request is begun.
   */
  isOverloaded(user: string, writes: boolean): boolean
  /**
   * Runs statements in one transaction, all written to the wire at once. Returns the rows of each. They are run once more
   * if the session refuses to write, or if the connection is lost, unless they were sent and would change something.
   * @param since when the time that they have began, as of performance.now(); default now
   * @param sealed whether to prove that each statement ran in one transaction with its settings. Always proved if
   *   statements are not prepared. Default false
   * @throws at once while the server does not answer at all
   * @throws OutcomeUnknownError if they change something, were sent, and the connection was lost
   */
  run(statements: readonly ScopedStatement[], since?: number, sealed?: boolean): Promise<unknown[][]>
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

export interface DatabaseState {
  /** Batches, and the connections that carry them. */
  kinds: Record<KindName, Load>
  /** Connections that are open and carry nothing. */
  idle: number
  /** How many batches were answered with what cannot be shown to be theirs, since the start. */
  foreignAnswers: number
}

type Run = (statements: readonly ScopedStatement[]) => Promise<unknown[][]>

const CONNECT_TIMEOUT_MS = 3_000
// Of one of several hosts.
const HOST_TIMEOUT_MS = 1_000
const STATEMENT_TIMEOUT_MS = 5_000
// How much longer to wait for a server that should have cancelled a statement itself, but does not answer at all.
const ANSWER_TIMEOUT_MS = 500
// A batch that lost its connection is run again if that happened within this time, and after a pause, by when the other
// connections that broke with it are known to be broken.
const REPEAT_WITHIN_MS = 1_000
const REPEAT_AFTER_MS = 20
// How long to wait for idle connections to end, on a server that does not answer.
const CLOSE_TIMEOUT_MS = 500

// PostgreSQL in WebAssembly: not loaded where it is not used.
async function openEmbedded(url: string): Promise<Embedded> {
  const embedded = await import('./embedded.ts')
  return embedded.openEmbedded(url.slice('pglite:'.length))
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
  const hosts = parseHosts(url)
  const isOneHost = hosts.urls.length === 1
  const connectTimeout = Math.min(
    hosts.connectTimeout ?? (isOneHost ? CONNECT_TIMEOUT_MS : HOST_TIMEOUT_MS),
    CONNECT_TIMEOUT_MS,
  )
  const { openPool, isCitus } = pools({
    embedded: embedded?.config,
    max: poolMax,
    wanted: hosts.wanted,
    applicationName,
    connectTimeout,
    onConnectionError,
  })
  const primary = new Primary(
    hosts.urls,
    async (url) => {
      const pool = openPool(url, { max: 1 })
      try {
        const client = await pool.connect()
        client.release()
      } finally {
        void pool.end()
      }
    },
    (url) => connections.move(url),
  )
  const connections = new Connections(primary, (url) => openPool(url))
  const multiplexer = new Multiplexer(
    connections,
    embedded ? 1 : poolMax,
    statementTimeout + ANSWER_TIMEOUT_MS,
    embedded ? undefined : () => breaker.suspect(),
  )

  const breaker = new Breaker(async () => {
    try {
      await asLogin((db) => sql`select 1`.execute(db), CHECK_TIMEOUT_MS)
    } catch (error) {
      if (isSilence(error)) throw error // a server that refuses makes nobody wait
    }
  })
  const send = sender({ statementTimeout, rls, prepare, isCitus })
  let writesHang = false
  let interrupted = false
  let foreignAnswers = 0

  async function run(
    statements: readonly ScopedStatement[],
    since?: number,
    sealed = false,
  ): Promise<unknown[][]> {
    const started = performance.now()
    try {
      return await runOnce(statements, sealed, since ?? started)
    } catch (error) {
      const now = performance.now()
      const isLate = now - started > REPEAT_WITHIN_MS || now - (since ?? started) >= statementTimeout
      if (interrupted || isLate || !isRepeatable(error)) throw error
    }
    await sleep(REPEAT_AFTER_MS)
    return runOnce(statements, sealed, since ?? started)
  }

  async function runOnce(
    statements: readonly ScopedStatement[],
    sealed: boolean,
    since: number,
  ): Promise<unknown[][]> {
    const [first] = statements
    const user = first && ScopedStatement.ownerOf(first)
    const writes = statements.some((statement) => statement.writes)
    let written = false
    const onWrite = () => void (written = true)
    for (let blocked = false; ; blocked = true) {
      if (breaker.fault) throw breaker.fault
      if (writes) embedded?.requireRoom()
      const spent = performance.now() - since
      if (spent >= statementTimeout) throw new Error('timeout exceeded before it could be sent')
      let lockTimeout: number | undefined
      try {
        const rows = await multiplexer.run({ writes, user, spent, blocked }, (client, waited, patience) => {
          lockTimeout = writes ? patience : undefined
          return send(client, statements, { sealed, waited, lockTimeout, onWrite })
        })
        if (writes) writesHang = false
        return rows
      } catch (error) {
        if (lockTimeout !== undefined && isLockTimeout(error) && !interrupted) {
          written = false // and rolled back
          continue
        }
        if (error instanceof ForeignAnswerError) foreignAnswers += 1
        if (isSilence(error)) {
          if (writes) writesHang = true
          breaker.suspect()
        }
        throw writes && written && isAnswerLost(error) ? new OutcomeUnknownError(error) : error
      }
    }
  }

  function interrupt(): void {
    interrupted = true
    multiplexer.interrupt()
  }

  const loginOn = (own: Connections) =>
    new Kysely<never>({
      dialect: new PostgresDialect({
        pool: { connect: () => own.connect(), end: () => own.end(), options: {} },
      }),
    })

  async function asLogin<T>(use: (db: Kysely<never>) => Promise<T>, timeout?: number): Promise<T> {
    if (embedded) return use(loginOn(connections))
    const connectionTimeoutMillis = Math.min(timeout ?? Infinity, connectTimeout)
    const own = new Connections(primary, (url) =>
      openPool(url, { max: 1, query_timeout: timeout, connectionTimeoutMillis }),
    )
    try {
      return await use(loginOn(own))
    } finally {
      await own.end()
    }
  }

  const checks = new CheckConnection((onConnect) => {
    const options = {
      max: 1,
      connectionTimeoutMillis: Math.min(CHECK_TIMEOUT_MS, connectTimeout),
      query_timeout: CHECK_TIMEOUT_MS, // also of onConnect
    }
    return new Connections(primary, (url) => openPool(url, options).on('connect', onConnect))
  })

  async function check<T>(use: (db: Kysely<never>, run: Run) => Promise<T>): Promise<T> {
    if (embedded) return use(loginOn(connections), (statements) => run(statements, undefined, true))
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
    state: () => ({ kinds: multiplexer.load, idle: connections.idleCount, foreignAnswers }),
    isOverloaded: (user, writes) => multiplexer.isOverloaded(user, writes),
    run,
    asLogin,
    check,
    interrupt,
    async close() {
      multiplexer.close()
      interrupt()
      breaker.close()
      const ended = Promise.all([connections.end(), checks.end()])
      await Promise.race([ended, sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
      await embedded?.close()
    },
  }
}
