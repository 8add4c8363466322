import type pg from 'pg'
import { hangUp } from './batch.ts'
import { isConnectionFault } from './database-faults.ts'

interface Lane {
  /** Undefined until it is connected. */
  client: pg.PoolClient | undefined
  connecting: Promise<pg.PoolClient>
  /** Batches on their way. */
  load: number
  /** Since when nothing has come back: PostgreSQL answers in order. */
  since: number
  writes: boolean
}

// Many reads on one connection share system calls and wake-ups of PostgreSQL, which cost more than most statements.
const FULL_OF_READS = 64
// A write waits for the disk at its commit; on connections of their own several wait for one and the same flush.
const FULL_OF_WRITES = 2
// What has been silent for so long may stay so: nothing more is written behind it, as long as there is another way.
const STALLED_MS = 20
const WATCH_MS = 500

/**
 * Lets several requests share a connection: each writes its whole batch at once and PostgreSQL answers in order, so
 * nobody waits for the other's round trip. The pool keeps its part: connecting, broken and idle ones.
 *
 * A slow statement holds up what was written behind it, for `timeout` at most.
 */
export class Lanes {
  readonly #pool: pg.Pool
  readonly #max: number
  readonly #lanes = new Set<Lane>()
  readonly #watch: NodeJS.Timeout

  /**
   * @param max lanes, at most the pool's connections
   * @param timeout milliseconds (and up to 500 more) that a connection may be silent while it is asked; it is cut then.
   *   One timer for all: pg's own, one for each query, keeps every query in memory until the next full collection.
   */
  constructor(pool: pg.Pool, max: number, timeout: number) {
    this.#pool = pool
    this.#max = max
    this.#watch = setInterval(() => this.#cut(timeout), WATCH_MS).unref()
  }

  /**
   * @param writes whether the batch changes anything; a wrong answer costs but time
   * @param batch writes all its queries before it first waits, or batches would mix
   */
  async run<T>(writes: boolean, batch: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const lane = this.#take(writes)
    lane.load += 1
    try {
      return await batch(lane.client ?? (await lane.connecting))
    } catch (error) {
      if (isConnectionFault(error)) this.#drop(lane)
      throw error
    } finally {
      lane.load -= 1
      lane.since = performance.now()
      if (lane.load === 0 && this.#lanes.delete(lane)) lane.client?.release()
    }
  }

  /** Ends the watch; the connections are the pool's to close. */
  close(): void {
    clearInterval(this.#watch)
  }

  /** The first lane of its kind that has room, else a new one, else the one with the least before it. */
  #take(writes: boolean): Lane {
    const full = writes ? FULL_OF_WRITES : FULL_OF_READS
    const stalled = performance.now() - STALLED_MS
    let least: Lane | undefined
    for (const lane of this.#lanes) {
      if (lane.writes === writes && lane.load < full && lane.since > stalled) return lane
      if (!least || lane.load < least.load) least = lane
    }
    return least && this.#lanes.size >= this.#max ? least : this.#open(writes)
  }

  #open(writes: boolean): Lane {
    const connecting = this.#pool.connect()
    const lane: Lane = { client: undefined, connecting, load: 0, since: performance.now(), writes }
    connecting.then(
      (client) => (lane.client = client),
      () => this.#lanes.delete(lane),
    )
    this.#lanes.add(lane)
    return lane
  }

  /** Nothing more is sent on a broken connection, and the pool does not get it back. */
  #drop(lane: Lane): void {
    if (this.#lanes.delete(lane)) lane.client?.release(true)
  }

  /** Cuts connections that do not answer at all: the server should have cancelled the statement long since. */
  #cut(timeout: number): void {
    const latest = performance.now() - timeout
    for (const { client, since } of this.#lanes) {
      if (client && since < latest) hangUp(client, new Error('Query read timeout'))
    }
  }
}
