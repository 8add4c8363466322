import pg from 'pg'

// SQLSTATEs of faults that pass by themselves: connection, resources, shutdown, time-out, lock, serialization,
// read-only standby. Also a refused login or database: that is fixed in the database, or by a restart with another
// DATABASE_URL.
const PASSING = /^(08|28|3D000$|53|57|40001$|40P01$|55P03$|25006$)/
const NETWORK = /^(ECONN\w+|ENOTFOUND|ETIMEDOUT|EPIPE|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN)$/
// pg gives these errors no code.
const DRIVER = /^(Connection terminated|Query read timeout|timeout e|Client (has encountered|was closed))/
// Of these, the ones that say that a time ran out.
const SILENCE = /^(Query read timeout|timeout expired|Connection terminated due to connection timeout)/

/** The data directory cannot be used; the message says why and what to do. */
export class DataDirectoryError extends Error {
  override name = 'DataDirectoryError'
}

/** Another process uses the data directory. */
export class DirectoryInUseError extends DataDirectoryError {}

/** The disk has no room for what may have to be written; nothing was written. */
export class StorageFullError extends Error {
  override name = 'StorageFullError'
  constructor(directory: string) {
    super(`The disk of ${directory} is full`)
  }
}

/** So many wait for a connection, or for a lock, that another one would wait in vain. Nothing was done. */
export class OverloadedError extends Error {
  override name = 'OverloadedError'
  constructor() {
    super('Too many wait for the database')
  }
}

/** The answer cannot be shown to be the asker's. The connection it came on is cut. */
export class ForeignAnswerError extends Error {
  override name = 'ForeignAnswerError'
  /** @param what came instead */
  constructor(what: string) {
    super(`PostgreSQL, or a pooler in front of it, sent ${what}`)
  }
}

/** A host takes no writes, and those are wanted. */
export class ReadOnlyHostError extends Error {
  override name = 'ReadOnlyHostError'
  constructor() {
    super('it is a standby, or read-only')
  }
}

/** None of several hosts can be used. */
export class NoHostError extends AggregateError {
  override name = 'NoHostError'
  declare errors: Error[]
  /** @param errors why, for each host in turn */
  constructor(urls: readonly string[], errors: Error[]) {
    const why = urls.map((url, i) => {
      const { message, code } = errors[i] as NodeJS.ErrnoException
      return `${URL.parse(url)?.host}: ${message || code}`
    })
    super(errors, `no host can be written to: ${why.join('; ')}`)
  }
}

/** A value of a row has an unknown form; the connection itself is sound. */
export class UnreadableValueError extends Error {
  override name = 'UnreadableValueError'
  constructor(cause: Error) {
    super(`A value could not be read: ${cause.message}`, { cause })
  }
}

/** A batch that changes something was sent, and its connection was lost: it may have been committed. */
export class OutcomeUnknownError extends Error {
  override name = 'OutcomeUnknownError'
  /** @param cause how the connection was lost */
  constructor(cause: unknown) {
    super('The answer to a write was lost', { cause })
  }
}

/** The SQLSTATE of an error from PostgreSQL. */
export function sqlStateOf(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined
}

/** Whether a prepared statement is gone (26000), or its columns have changed (0A000: cached plan). */
export function isStaleStatement(error: unknown): boolean {
  return (
    error instanceof pg.DatabaseError &&
    (error.code === '26000' || (error.code === '0A000' && error.routine === 'RevalidateCachedQuery'))
  )
}

/** Whether the answer to a batch was lost: neither its rows came, nor an error that says it was rolled back. */
export function isAnswerLost(error: unknown): boolean {
  if (error instanceof UnreadableValueError) return false
  return !(error instanceof pg.DatabaseError) || error.severity === 'FATAL' || error.severity === 'PANIC'
}

/** Whether a session refused to write: that of a standby, or of a primary that no longer is one. */
export function isReadOnly(error: unknown): boolean {
  return sqlStateOf(error) === '25006'
}

/** Whether the connection an error came from must not be used again. */
export function isConnectionFault(error: unknown): boolean {
  return isAnswerLost(error) || isReadOnly(error)
}

/** Whether a batch that has changed nothing may have more luck on another connection. */
export function isRepeatable(error: unknown): boolean {
  return isConnectionFault(error) && isPassingFault(error) && !(error instanceof ForeignAnswerError)
}

/** Whether every host that can be used takes no writes. */
export function refusesWrites(error: unknown): boolean {
  if (error instanceof NoHostError) return error.errors.some(refusesWrites)
  return error instanceof ReadOnlyHostError
}

/** Whether a batch was rolled back because it waited for a lock. */
export function isLockTimeout(error: unknown): boolean {
  return sqlStateOf(error) === '55P03'
}

/** Whether an error means that the server did not answer at all, as opposed to refusing. */
export function isSilence(error: unknown): boolean {
  if (error instanceof NoHostError) return error.errors.every(isSilence)
  if (!(error instanceof Error)) return false
  return SILENCE.test(error.message) || ('code' in error && error.code === 'ETIMEDOUT')
}

/** Whether an error means that the database is unreachable or overloaded, which passes by itself. */
export function isPassingFault(error: unknown): boolean {
  if (error instanceof ForeignAnswerError || isStaleStatement(error)) return true
  if (error instanceof ReadOnlyHostError || error instanceof NoHostError) return true
  if (!(error instanceof Error)) return false
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  return error instanceof pg.DatabaseError
    ? PASSING.test(code)
    : NETWORK.test(code) || DRIVER.test(error.message)
}
