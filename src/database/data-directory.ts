import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { DataDirectoryError, DirectoryInUseError } from './faults.ts'

// Node.js cannot lock a file itself, but the SQLite that it contains does, for as long as a transaction is open. The
// kernel ends the lock with the process, so that none is left behind by one that was killed.
const LOCK = 'holder.lock'
// Whom to name to others that want the lock. It proves nothing: numbers of processes are used again.
const HOLDER = 'holder.pid'
const SQLITE_BUSY = 5
const MAX_PATH_BYTES = 480
const ATTEMPTS = 30
const PAUSE_MS = 100

/**
 * Locks a data directory for this process, and creates it if there is none, for this user alone. PGlite itself takes no
 * lock, and two processes would corrupt the files.
 *
 * @returns a function that releases the lock, which is held only as long as this function is referenced
 * @throws DataDirectoryError if it cannot be written; DirectoryInUseError if another still uses it after three seconds
 */
export async function lockDirectory(directory: string): Promise<() => void> {
  const holder = join(directory, HOLDER)
  let lock: DatabaseSync | undefined
  try {
    makeDirectory(directory, 0o700)
    accessSync(directory, constants.W_OK)
    makePrivate(directory)
    // A process that is being restarted may need a moment to release it.
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      lock = tryLock(join(directory, LOCK))
      if (lock) break
      await sleep(PAUSE_MS)
    }
    if (lock) writeFileSync(holder, String(process.pid))
  } catch (error) {
    lock?.close()
    const { code, message } = error as NodeJS.ErrnoException
    const tooLong = Buffer.byteLength(resolve(directory)) > MAX_PATH_BYTES
    const reason = code !== 'ERR_SQLITE_ERROR' ? code : tooLong ? 'its path is too long' : message
    throw new DataDirectoryError(
      `The folder ${directory} cannot be written (${reason}): make it writable, or name another with DATABASE_URL=pglite:DIRECTORY.`,
    )
  }
  if (!lock) {
    throw new DirectoryInUseError(
      `${nameIn(holder)} uses the database in ${directory}: stop it first, or set DATABASE_URL.`,
    )
  }
  const held = lock
  return () => {
    rmSync(holder, { force: true })
    held.close()
  }
}

// mkdir's own `recursive` never returns under /proc (Node 24).
function makeDirectory(path: string, mode?: number): void {
  if (existsSync(path)) return
  makeDirectory(dirname(path))
  try {
    mkdirSync(path, { mode })
  } catch (error) {
    if (!existsSync(path)) throw error
  }
}

/** As PostgreSQL has its own; a folder with other things in it is left alone. */
function makePrivate(directory: string): void {
  const names = readdirSync(directory)
  if (names.length > 0 && !names.includes('PG_VERSION')) return
  try {
    chmodSync(directory, 0o700)
  } catch {
    // another user's, such as a volume's
  }
}

/** Undefined if another holds it. */
function tryLock(file: string): DatabaseSync | undefined {
  const lock = new DatabaseSync(file)
  try {
    lock.exec('pragma journal_mode = memory; begin exclusive')
    return lock
  } catch (error) {
    lock.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined
    throw error
  }
}

function nameIn(holder: string): string {
  try {
    return `Process ${BigInt(readFileSync(holder, 'utf8'))}`
  } catch {
    return 'Another process' // it has not come to write its number, or could not
  }
}
