import type pg from 'pg'
import type { Primary } from './primary.ts'

// Sessions that refuse to write are all left at once, but no more often: a server that is read-only for good is still read.
const LEAVE_EVERY_MS = 1_000

interface Current {
  url: string
  pool: pg.Pool
  since: number
}

/** The connections to the host that can be used now. When that is another one, those to the host before are left. */
export class Connections {
  /** Called when the connections that are in use should be left. */
  onLeave: () => void = () => {}
  readonly #primary: Primary
  readonly #open: (url: string) => pg.Pool
  readonly #poolOf = new WeakMap<pg.ClientBase, pg.Pool>()
  #current: Current | undefined

  /** @param open opens the pool of a host */
  constructor(primary: Primary, open: (url: string) => pg.Pool) {
    this.#primary = primary
    this.#open = open
  }

  /** @throws NoHostError if none of several hosts can be used */
  async connect(isLast = !this.#primary.isOneOfSeveral): Promise<pg.PoolClient> {
    const url = await this.#primary.find()
    const { pool } = this.#at(url)
    let client: pg.PoolClient
    try {
      client = await pool.connect()
    } catch (error) {
      this.#primary.doubt(url)
      if (isLast) throw error
      return this.connect(true)
    }
    if (pool === this.#current?.pool) {
      this.#poolOf.set(client, pool)
      return client
    }
    client.release(true)
    return this.connect(isLast)
  }

  /** A session has refused to write: all that were opened with it are left. */
  leave(client: pg.ClientBase): void {
    const current = this.#current
    if (!current || this.#poolOf.get(client) !== current.pool) return
    this.#primary.doubt(current.url)
    if (this.#primary.isOneOfSeveral || performance.now() - current.since > LEAVE_EVERY_MS) this.#leave()
  }

  /** The host to use is another one. */
  move(url: string): void {
    if (this.#current && this.#current.url !== url) this.#leave()
  }

  /** How many are open and not in use. */
  get idleCount(): number {
    return this.#current?.pool.idleCount ?? 0
  }

  async end(): Promise<void> {
    await this.#current?.pool.end()
  }

  #at(url: string): Current {
    this.move(url)
    this.#current ??= { url, pool: this.#open(url), since: performance.now() }
    return this.#current
  }

  #leave(): void {
    const pool = this.#current?.pool
    this.#current = undefined
    // Those who wait for one of its idle connections get it in this turn.
    setImmediate(() => void pool?.end())
    this.onLeave()
  }
}
