import pg from 'pg'
import { type Problem, unavailable } from './problem.ts'

// SQLSTATEs that pass by themselves: connection, resources, shutdown, time-out, lock, serialization, read-only standby.
// And a login or database that is refused: mended where the database is, or by a restart with another DATABASE_URL.
const PASSING = /^(08|28|3D000$|53|57|40001$|40P01$|55P03$|25006$)/
const NETWORK = /^(ECONN\w+|ENOTFOUND|ETIMEDOUT|EPIPE|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN)$/
// pg gives these no code.
const DRIVER = /^(Connection terminated|Query read timeout|timeout e|Client (has encountered|was closed))/

/** Whether the connection an error came from must not be used again. */
export function isConnectionFault(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return true
  return error.severity === 'FATAL' || error.severity === 'PANIC' || error.code === '25006'
}

/** What the client is told of a database that is out of reach or overloaded; undefined for any other error. */
export function databaseProblem(error: unknown): Problem | undefined {
  if (!(error instanceof Error)) return undefined
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const passes =
    error instanceof pg.DatabaseError ? PASSING.test(code) : NETWORK.test(code) || DRIVER.test(error.message)
  if (!passes) return undefined
  return unavailable('database_unavailable', 'The database did not answer in time. Try again shortly.', error)
}
