import type pg from 'pg'
import { hangUp } from './batch.ts'
import { isConnectionFault } from './faults.ts'

// Several requests share a connection: each writes its whole batch at once and PostgreSQL answers in order, so no
// request waits for another's round trip. The pool still connects, and drops broken and idle connections.
//
// Invariants
//   M1  A batch runs on one connection, and sends all its queries before its first await.
//   M2  A connection carries at most `capacity` batches of one kind, reads or writes, and never of both.
//   M3  No further batch is written to a connection that has been silent for STALLED_MS.
//   M4  Waiting batches are served in order of arrival, as soon as a connection of their kind has room.
//   M5  However many connections of one kind are slow, the other kind can get one, unless there is only one in all.
//   M6  A connection that is broken or silent past the time-out never returns to the pool; its batches fail.
//
// States of a connection
//   (none)  ─ #open ─▶ idle ─ #take ─▶ shared ─ capacity reached ─▶ full
//   shared, full ─ nothing comes back for STALLED_MS ─▶ silent ─ an answer comes ─▶ shared
//   silent ─ #dropSilent, after the time-out ─▶ cut          shared ─ last answer ─▶ (back to the pool)

interface Connection {
  /** Undefined until it is connected. */
  client: pg.PoolClient | undefined
  readonly connecting: Promise<pg.PoolClient>
  /** Batches in flight. */
  load: number
  /** When the last answer came: PostgreSQL answers in order. */
  since: number
}

/** A batch that no connection has room for. */
interface Waiting {
  readonly since: number
  resolve(connection: Connection): void
  reject(error: Error): void
}

/** Batches of one kind, and the connections that carry them. */
interface Kind {
  readonly connections: Set<Connection>
  /** First come, first served. */
  readonly waiting: Waiting[]
  /** Batches on one connection before another is opened. */
  readonly spreadAt: number
  /** The most batches on one connection. */
  readonly capacity: number
}

// A connection silent for this long may be blocked: send nothing more on it until it answers.
const STALLED_MS = 20
const WATCH_MS = 500

/** Spreads batches over the connections of a pool. */
export class Multiplexer {
  readonly #pool: pg.Pool
  readonly #max: number
  // Many reads on one connection share system calls and wake-ups of PostgreSQL, which cost more than most statements.
  readonly #reads: Kind = { connections: new Set(), waiting: [], spreadAt: 64, capacity: 64 }
  // A write waits for the disk at its commit; writes on separate connections can share one flush.
  readonly #writes: Kind = { connections: new Set(), waiting: [], spreadAt: 2, capacity: 4 }
  // Broken ones, while batches are still under way on them.
  readonly #leaving = new Set<Connection>()
  readonly #watch: NodeJS.Timeout

  /**
   * @param max connections, at most the pool's
   * @param timeout milliseconds (and up to 500 more) that a connection with batches in flight may be silent before it
   *   is cut. One timer watches all: pg's own, one for each query, keeps each query in memory until the next full
   *   garbage collection.
   */
  constructor(pool: pg.Pool, max: number, timeout: number) {
    this.#pool = pool
    this.#max = max
    this.#watch = setInterval(() => this.#dropSilent(timeout), WATCH_MS).unref()
  }

  /**
   * @param writes whether the batch changes anything; only affects scheduling, never correctness
   * @param batch must send all its queries before its first await; otherwise two batches interleave on the wire
   */
  async run<T>(writes: boolean, batch: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const [kind, other] = writes && this.#max > 1 ? [this.#writes, this.#reads] : [this.#reads, this.#writes]
    const connection = this.#take(kind) ?? (await this.#wait(kind))
    try {
      return await batch(connection.client ?? (await connection.connecting))
    } catch (error) {
      // Nothing more is sent on a broken connection, and the pool does not get it back.
      if (isConnectionFault(error) && kind.connections.delete(connection)) {
        this.#leaving.add(connection)
        connection.client?.release(true)
      }
      throw error
    } finally {
      connection.load -= 1
      connection.since = performance.now()
      if (connection.load === 0) this.#leaving.delete(connection)
      this.#admit(kind)
      if (connection.load === 0 && kind.connections.delete(connection)) connection.client?.release()
      this.#admit(other)
    }
  }

  /** Cuts every connection with batches under way, and refuses those that wait. */
  interrupt(): void {
    const error = new Error('Connection terminated: the service is shutting down')
    for (const { connections, waiting } of [this.#reads, this.#writes]) {
      for (const { client } of connections) if (client) hangUp(client, error)
      for (const { reject } of waiting.splice(0)) reject(error)
    }
  }

  /** Ends the watch; the connections are the pool's to close. */
  close(): void {
    clearInterval(this.#watch)
  }

  /** The first connection with few batches, else a new one, else the one with the fewest, if it has room. */
  #take(kind: Kind): Connection | undefined {
    const stalled = performance.now() - STALLED_MS
    let least: Connection | undefined
    for (const connection of kind.connections) {
      if (connection.since < stalled || connection.load >= kind.capacity) continue
      if (!least || connection.load < least.load) least = connection
      if (connection.load < kind.spreadAt) break
    }
    const connection = least && least.load < kind.spreadAt ? least : (this.#open(kind) ?? least)
    if (connection) connection.load += 1
    return connection
  }

  #open(kind: Kind): Connection | undefined {
    const open = this.#reads.connections.size + this.#writes.connections.size
    if (open >= this.#max || kind.connections.size >= Math.max(this.#max - 1, 1)) return undefined
    const connecting = this.#pool.connect()
    const connection: Connection = { client: undefined, connecting, load: 0, since: performance.now() }
    connecting.then(
      (client) => (connection.client = client),
      () => kind.connections.delete(connection),
    )
    kind.connections.add(connection)
    return connection
  }

  #wait({ waiting }: Kind): Promise<Connection> {
    return new Promise((resolve, reject) => waiting.push({ since: performance.now(), resolve, reject }))
  }

  /** Gives waiting batches the room that has become free. */
  #admit(kind: Kind): void {
    while (kind.waiting.length > 0) {
      const connection = this.#take(kind)
      if (!connection) return
      kind.waiting.shift()?.resolve(connection)
    }
  }

  /** Cuts connections that do not answer at all: the server should already have cancelled the statement. */
  #dropSilent(timeout: number): void {
    const latest = performance.now() - timeout
    const late = new Error('Query read timeout')
    for (const { client, since } of this.#leaving) if (client && since < latest) hangUp(client, late)
    for (const { connections, waiting } of [this.#reads, this.#writes]) {
      for (const { client, since } of connections) if (client && since < latest) hangUp(client, late)
      while (waiting[0] && waiting[0].since < latest) waiting.shift()?.reject(late)
    }
  }
}
