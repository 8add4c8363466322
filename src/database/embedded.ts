import { statfsSync } from 'node:fs'
import { Duplex } from 'node:stream'
import { PGlite } from '@electric-sql/pglite'
import type pg from 'pg'
import { lockDirectory } from './data-directory.ts'
import { DataDirectoryError, StorageFullError } from './faults.ts'
import { Files } from './pglite-files.ts'

export interface Embedded {
  /** Connects pg to the embedded PostgreSQL instead of to a socket. */
  readonly config: pg.PoolConfig
  /** @throws StorageFullError if the disk lacks the room that a write may need */
  requireRoom(): void
  close(): Promise<void>
}

// PostgreSQL aborts if there is no room for the next segment of its write-ahead log: 16 MiB.
const ROOM_BYTES = 2 * 16 * 1024 * 1024
// As PostgreSQL's checkpoint_timeout. PGlite has no process that would do it, and keeps all of its write-ahead log.
const CHECKPOINT_MS = 5 * 60_000

/**
 * Starts PostgreSQL inside this process (PGlite). It has one connection, and only one process may use a directory at a
 * time. If PostgreSQL aborts later on, only a new process can go on: an uncaught error says so.
 *
 * @param location a directory, which is created if there is none, or `memory`
 * @throws DataDirectoryError if the directory cannot be written, another process uses it, or PostgreSQL does not start
 */
export async function openEmbedded(location: string): Promise<Embedded> {
  if (location === 'memory') {
    const db = await PGlite.create()
    return { config: configOf(db), requireRoom() {}, close: () => db.close() }
  }
  const unlock = await lockDirectory(location)
  const files = new Files(location)
  const db = await PGlite.create({ fs: files, onStderr: (line) => files.listen(line) }).catch((error) => {
    unlock()
    const remedy = hasRoom(location)
      ? 'Restore a copy of the folder, or delete it if its data can go.'
      : 'Its disk is full: make room.'
    throw new DataDirectoryError(
      `The embedded database in ${location} does not start: ${files.lastWords ?? error.message ?? error}. ${remedy}`,
    )
  })
  files.onAbort = () =>
    setImmediate(() => {
      throw new DataDirectoryError(
        `The embedded database in ${location} has aborted: ${files.lastWords}. Start again; what was acknowledged is kept.`,
      )
    })
  const checkpoints = setInterval(() => void db.exec('checkpoint').catch(() => {}), CHECKPOINT_MS).unref()
  return {
    config: configOf(db),
    requireRoom() {
      if (!hasRoom(location)) throw new StorageFullError(location)
    },
    async close() {
      clearInterval(checkpoints)
      if (!files.aborted) await db.close()
      unlock()
    },
  }
}

const configOf = (db: PGlite): pg.PoolConfig => ({
  user: 'postgres',
  database: 'postgres',
  max: 1,
  stream: () => new PGliteStream(db) as never,
})

function hasRoom(location: string): boolean {
  const { bavail, bsize } = statfsSync(location)
  return bavail * bsize >= ROOM_BYTES
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
    // PGlite has a single session for all connections: reset it, or prepared statements leak from one to the next.
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
