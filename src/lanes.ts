import type pg from 'pg'
import { isConnectionFault } from './database-faults.ts'

interface Lane {
  client: pg.PoolClient
  /** Batches on their way. */
  load: number
  broken: boolean
}

/**
 * Lets several requests share a connection: each writes its whole batch at once and PostgreSQL answers in order, so
 * nobody waits for the other's round trip. The pool keeps its part: connecting, time-outs, broken and idle ones.
 *
 * A slow statement holds up what is behind it in its lane until its time-out; new work goes to the least loaded lane.
 */
export class Lanes {
  readonly #pool: pg.Pool
  readonly #max: number
  readonly #lanes = new Set<Lane>()
  readonly #opening = new Set<Promise<Lane>>()

  /** @param max lanes, at most the pool's connections */
  constructor(pool: pg.Pool, max: number) {
    this.#pool = pool
    this.#max = max
  }

  /** @param batch writes all its queries before it first waits, or batches would mix */
  async run<T>(batch: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const lane = await this.#take()
    try {
      return await batch(lane.client)
    } catch (error) {
      if (isConnectionFault(error)) lane.broken = true
      throw error
    } finally {
      lane.load -= 1
      if (lane.broken) this.#lanes.delete(lane)
      if (lane.load === 0) this.#close(lane)
    }
  }

  /** A new lane while there may be more, else the least loaded, else the first that opens. */
  async #take(): Promise<Lane> {
    if (this.#lanes.size + this.#opening.size < this.#max) return this.#open()
    let least: Lane | undefined
    for (const lane of this.#lanes) {
      if (!lane.broken && (!least || lane.load < least.load)) least = lane
    }
    least ??= await Promise.race(this.#opening)
    // At once, or the lane might be closed before it is used.
    least.load += 1
    return least
  }

  #open(): Promise<Lane> {
    const opening = this.#pool
      .connect()
      .then((client) => {
        const lane = { client, load: 1, broken: false }
        this.#lanes.add(lane)
        return lane
      })
      .finally(() => this.#opening.delete(opening))
    this.#opening.add(opening)
    return opening
  }

  #close(lane: Lane): void {
    this.#lanes.delete(lane)
    lane.client.release(lane.broken)
  }
}
