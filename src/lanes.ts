import type pg from 'pg'
import { hangUp } from './batch.ts'
import { isConnectionFault } from './database-faults.ts'

interface Lane {
  /** Undefined until it is connected. */
  client: pg.PoolClient | undefined
  readonly connecting: Promise<pg.PoolClient>
  /** Batches on their way. */
  load: number
  /** Since when nothing has come back: PostgreSQL answers in order. */
  since: number
}

/** A batch that no lane has room for. */
interface Waiting {
  readonly since: number
  go(lane: Lane): void
  fail(error: Error): void
}

/** The lanes that take one kind of batch. */
interface Kind {
  readonly lanes: Set<Lane>
  /** First come, first served. */
  readonly waiting: Waiting[]
  /** Batches that go to one lane before another is opened, and at most. */
  readonly few: number
  readonly full: number
}

// What has been silent for so long may stay so: nothing more is written behind it.
const STALLED_MS = 20
const WATCH_MS = 500

/**
 * Lets several requests share a connection: each writes its whole batch at once and PostgreSQL answers in order, so
 * nobody waits for the other's round trip. The pool keeps its part: connecting, broken and idle ones.
 *
 * A slow statement holds up what was written behind it, and nothing that comes later. However many of one kind are
 * slow, the other kind has a connection left, unless there is but one.
 */
export class Lanes {
  readonly #pool: pg.Pool
  readonly #max: number
  // Many reads on one connection share system calls and wake-ups of PostgreSQL, which cost more than most statements.
  readonly #reads: Kind = { lanes: new Set(), waiting: [], few: 64, full: 64 }
  // A write waits for the disk at its commit; on connections of their own several wait for one and the same flush.
  readonly #writes: Kind = { lanes: new Set(), waiting: [], few: 2, full: 4 }
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
    const [kind, other] = writes && this.#max > 1 ? [this.#writes, this.#reads] : [this.#reads, this.#writes]
    const lane = this.#take(kind) ?? (await this.#wait(kind))
    try {
      return await batch(lane.client ?? (await lane.connecting))
    } catch (error) {
      // Nothing more is sent on a broken connection, and the pool does not get it back.
      if (isConnectionFault(error) && kind.lanes.delete(lane)) lane.client?.release(true)
      throw error
    } finally {
      lane.load -= 1
      lane.since = performance.now()
      this.#serve(kind)
      if (lane.load === 0 && kind.lanes.delete(lane)) lane.client?.release()
      this.#serve(other)
    }
  }

  /** Ends the watch; the connections are the pool's to close. */
  close(): void {
    clearInterval(this.#watch)
  }

  /** The first lane with few batches, else a new one, else the one with the fewest, if it is not full. */
  #take(kind: Kind): Lane | undefined {
    const stalled = performance.now() - STALLED_MS
    let least: Lane | undefined
    for (const lane of kind.lanes) {
      if (lane.since < stalled || lane.load >= kind.full) continue
      if (!least || lane.load < least.load) least = lane
      if (lane.load < kind.few) break
    }
    const lane = least && least.load < kind.few ? least : (this.#open(kind) ?? least)
    if (lane) lane.load += 1
    return lane
  }

  #open(kind: Kind): Lane | undefined {
    const open = this.#reads.lanes.size + this.#writes.lanes.size
    if (open >= this.#max || kind.lanes.size >= Math.max(this.#max - 1, 1)) return undefined
    const connecting = this.#pool.connect()
    const lane: Lane = { client: undefined, connecting, load: 0, since: performance.now() }
    connecting.then(
      (client) => (lane.client = client),
      () => kind.lanes.delete(lane),
    )
    kind.lanes.add(lane)
    return lane
  }

  #wait({ waiting }: Kind): Promise<Lane> {
    return new Promise((go, fail) => waiting.push({ since: performance.now(), go, fail }))
  }

  /** Lets those go that there is room for now. */
  #serve(kind: Kind): void {
    while (kind.waiting.length > 0) {
      const lane = this.#take(kind)
      if (!lane) return
      kind.waiting.shift()?.go(lane)
    }
  }

  /** Cuts connections that do not answer at all: the server should have cancelled the statement long since. */
  #cut(timeout: number): void {
    const latest = performance.now() - timeout
    const late = new Error('Query read timeout')
    for (const { lanes, waiting } of [this.#reads, this.#writes]) {
      for (const { client, since } of lanes) if (client && since < latest) hangUp(client, late)
      while (waiting[0] && waiting[0].since < latest) waiting.shift()?.fail(late)
    }
  }
}
