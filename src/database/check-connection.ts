import type pg from 'pg'
import { hangUp } from './batch.ts'
import type { Connections } from './connections.ts'

/** Milliseconds that a check may take in all, and its connection to be made. */
export const CHECK_TIMEOUT_MS = 1_000

/**
 * The connection of checks, which no request uses. It is kept, so that many checks cost one connection, and cut when a
 * check fails: the next one may find another server at the same address. One check at a time.
 */
export class CheckConnection {
  readonly #open: (onConnect: (client: pg.PoolClient) => void) => Connections
  #pool: Connections | undefined
  #client: pg.PoolClient | undefined

  /** @param open opens a pool of one connection, and says which that is */
  constructor(open: (onConnect: (client: pg.PoolClient) => void) => Connections) {
    this.#open = open
  }

  /** @throws what the check throws; after a second, the error of a connection that was cut */
  async use<T>(check: (pool: Connections) => Promise<T>): Promise<T> {
    this.#pool ??= this.#open((client) => (this.#client = client))
    const late = setTimeout(() => {
      if (this.#client) hangUp(this.#client, new Error('Query read timeout'))
    }, CHECK_TIMEOUT_MS)
    try {
      return await check(this.#pool)
    } catch (error) {
      void this.end()
      throw error
    } finally {
      clearTimeout(late)
    }
  }

  async end(): Promise<void> {
    const pool = this.#pool
    this.#pool = undefined
    this.#client = undefined
    await pool?.end()
  }
}
