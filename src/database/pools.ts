import pg from 'pg'
import { ReadOnlyHostError } from './faults.ts'
import type { Wanted } from './hosts.ts'

export interface PoolsOptions {
  /** Where the embedded database is, if it is used. */
  embedded: pg.PoolConfig | undefined
  /** Connections of a pool. */
  max: number
  /** What a session must be able to do. */
  wanted: Wanted
  /** Milliseconds to connect within. */
  connectTimeout: number
  /** Shown in pg_stat_activity. */
  applicationName: string | undefined
  /** Called for a connection that broke while idle; the pool has already dropped it. */
  onConnectionError: ((error: Error) => void) | undefined
}

// Within which a new session must answer, unless its pool has a time-out.
const SESSION_TIMEOUT_MS = 3_000

// So that times come in one form, whatever the login has, and that a statement takes one core of the server, not three.
// Poolers keep the first two for each client.
const SESSION = "set DateStyle = 'ISO'; set TimeZone = 'UTC'; set max_parallel_workers_per_gather = 0"
// Once for each connection, so that no request asks.
const IS_CITUS = "select from pg_extension where extname = 'citus'"

// What a session must not say.
const REFUSALS: Record<Wanted, string | undefined> = {
  any: undefined,
  'read-write': "select current_setting('transaction_read_only')::boolean as refused",
  primary: 'select pg_is_in_recovery() as refused',
}

// pg treats these modes so anyway, but warns on standard error that a later version may weaken them.
function verifyCertificate(url: string): string {
  return url.replace(/([?&]sslmode=)(prefer|require|verify-ca)(?=&|$)/, '$1verify-full')
}

/** Makes the function that opens a pool, whose sessions are all set up alike, and one that says which of them lead to Citus. */
export function pools({
  embedded,
  max,
  wanted,
  connectTimeout,
  applicationName,
  onConnectionError,
}: PoolsOptions) {
  const onCitus = new WeakSet<pg.ClientBase>()

  function openPool(url: string, options: pg.PoolConfig = {}): pg.Pool {
    // Its type lacks the time-out.
    const session = {
      text: `${SESSION}; ${IS_CITUS}`,
      query_timeout: options.query_timeout ?? SESSION_TIMEOUT_MS,
    }
    const refusal = REFUSALS[wanted]
    const onConnect = async (client: pg.ClientBase) => {
      // Sent at once.
      const [results, answer] = await Promise.all([
        client.query(session) as unknown as Promise<pg.QueryResult[]>,
        refusal && client.query({ ...session, text: refusal }),
      ])
      if (answer && answer.rows[0]?.refused) throw new ReadOnlyHostError()
      if (results.at(-1)?.rowCount === 1) onCitus.add(client)
    }
    const pool = new pg.Pool({
      ...(embedded ?? { connectionString: verifyCertificate(url), max }),
      application_name: applicationName,
      pipeline: true,
      keepAlive: true,
      connectionTimeoutMillis: connectTimeout,
      ...options,
      onConnect,
    })
    // Without listeners, a connection that breaks while idle, or between two statements, would end the process.
    pool.on('error', (error) => onConnectionError?.(error))
    pool.on('connect', (client) => client.on('error', () => {}))
    return pool
  }

  return { openPool, isCitus: (client: pg.ClientBase) => onCitus.has(client) }
}
