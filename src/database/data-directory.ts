import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** The data directory cannot be used; the message says why and what to do. */
export class DataDirectoryError extends Error {
  override name = 'DataDirectoryError'
}

const LOCK = 'holder.pid'

/**
 * Locks a data directory for this process, and creates it if there is none. PGlite itself takes no lock, and two
 * processes would corrupt the files.
 *
 * @returns a function that releases the lock
 * @throws DataDirectoryError if it cannot be written, or another process uses it
 */
export async function lockDirectory(directory: string): Promise<() => void> {
  const file = join(directory, LOCK)
  try {
    makeDirectory(directory)
    // A process that is being restarted may need a moment to release it.
    for (let attempt = 0; attempt < 30 && isAlive(holder(file)); attempt++) await sleep(100)
    const pid = holder(file)
    if (isAlive(pid)) {
      throw new DataDirectoryError(
        `Process ${pid} uses the database in ${directory}: stop it first, or set DATABASE_URL.`,
      )
    }
    rmSync(file, { force: true })
    writeFileSync(file, String(process.pid), { flag: 'wx' })
  } catch (error) {
    if (error instanceof DataDirectoryError) throw error
    const { code } = error as NodeJS.ErrnoException
    throw new DataDirectoryError(
      `The folder ${directory} cannot be written (${code}): make it writable, or name another with DATABASE_URL=pglite:DIRECTORY.`,
    )
  }
  return () => rmSync(file, { force: true })
}

// mkdir's own `recursive` never returns under /proc (Node 24).
function makeDirectory(path: string): void {
  if (existsSync(path)) return
  makeDirectory(dirname(path))
  try {
    mkdirSync(path)
  } catch (error) {
    if (!existsSync(path)) throw error
  }
}

function holder(file: string): number | undefined {
  try {
    return Number(readFileSync(file, 'utf8')) || undefined
  } catch {
    return undefined
  }
}

function isAlive(pid: number | undefined): boolean {
  if (!pid || pid === process.pid) return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
