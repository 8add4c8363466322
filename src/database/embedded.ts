import { Duplex } from 'node:stream'
import { PGlite } from '@electric-sql/pglite'
import type pg from 'pg'
import { lockDirectory } from './data-directory.ts'
import { DataDirectoryError } from './faults.ts'

export interface Embedded {
  /** Connects pg to the embedded PostgreSQL instead of to a socket. */
  readonly config: pg.PoolConfig
  close(): Promise<void>
}

/**
 * Starts PostgreSQL inside this process (PGlite). It has one connection, and only one process may use a directory at a
 * time.
 *
 * @param location a directory, which is created if there is none, or `memory`
 * @throws DataDirectoryError if the directory cannot be written, or another process uses it
 */
export async function openEmbedded(location: string): Promise<Embedded> {
  const unlock = location === 'memory' ? () => {} : await lockDirectory(location)
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
