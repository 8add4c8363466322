import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { PGlite } from '@electric-sql/pglite'
import type pg from 'pg'

/** The data directory cannot be used; the message says why and what to do. */
export class DataDirectoryError extends Error {
  override name = 'DataDirectoryError'
}

export interface Embedded {
  /** Connects pg to the embedded PostgreSQL instead of to a socket. */
  readonly config: pg.PoolConfig
  close(): Promise<void>
}

/**
 * Starts PostgreSQL inside this process (PGlite). It has one connection and one process may use a directory at a time.
 *
 * @param location a directory, which is made if there is none, or `memory`
 * @throws DataDirectoryError if the directory cannot be written, or another process uses it
 */
export async function openEmbedded(location: string): Promise<Embedded> {
  const unlock = location === 'memory' ? () => {} : await lock(location)
  const db = await PGlite.create(location === 'memory' ? {} : { dataDir: location }).catch((error) => {
    unlock()
    throw new DataDirectoryError(
      `The embedded database in ${location} does not start: ${error.message}. If the folder can go, delete it and start again.`,
    )
  })
  return {
    config: { user: 'postgres', database: 'postgres', max: 1, stream: () => new PGliteStream(db) as never },
    async close() {
      await db.close()
      unlock()
    },
  }
}

// PGlite takes no lock of its own, and two processes would damage the files.
async function lock(directory: string): Promise<() => void> {
  const file = join(directory, 'taskward.pid')
  try {
    makeDirectory(directory)
    // A process that is being restarted may need a moment to let go.
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

/** Carries pg's wire protocol to PGlite and back: a socket without a network. */
class PGliteStream extends Duplex {
  readonly #db: PGlite

  constructor(db: PGlite) {
    super()
    this.#db = db
  }

  // The part of net.Socket that pg calls.
  connect(): this {
    // Its one session outlives a connection: what the last one left, such as prepared statements, must go.
    const clean = async () => {
      await this.#db.exec('rollback')
      await this.#db.exec('discard all')
    }
    clean().then(
      () => this.emit('connect'),
      (error) => this.destroy(error),
    )
    return this
  }
  setNoDelay = (): this => this
  setKeepAlive = (): this => this
  ref = (): this => this
  unref = (): this => this

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.#send(chunk).then(() => done(), done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error) => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk))).then(() => done(), done)
  }

  #send(message: Uint8Array): Promise<void> {
    const onRawData = (data: Uint8Array) => this.push(Buffer.from(data))
    return this.#db.runExclusive(() => this.#db.execProtocolRawStream(message, { onRawData }))
  }
}
