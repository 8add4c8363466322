import type pg from 'pg'
import { hangUp } from './batch.ts'
import { isConnectionFault } from './faults.ts'

// Several requests share a connection: each writes its whole batch at once and PostgreSQL answers in order, so no
// request waits for another's round trip. The pool still connects, and drops broken and idle connections.
//
// Invariants
//   M1  A batch runs on one connection, and sends all its queries before its first await.
//   M2  A connection carries at most `capacity` batches of one kind, reads or writes, and never of both.
//   M3  No further batch is written to a connection that has been silent for SILENT_MS, or whose oldest batch was sent
//       more than SLOW_MS ago.
//   M4  A user has at most half as many writes under way as there are connections. While one of a user's reads or
//       writes is slow, the user has at most a quarter of that kind.
//   M5  Waiting batches are served in order of arrival, but for those that M4 holds back, as soon as a connection of
//       their kind has room.
//   M6  However many connections of one kind are slow, the other kind can get one, unless there is only one in all.
//   M7  Every batch ends by its deadline, which counts from when it arrived: one that waits is refused, and a connection
//       that is silent for longer is cut.
//   M8  A connection that is broken or cut never returns to the pool; its batches fail.
//
// States of a connection
//   (none)  ─ #open ─▶ idle ─ #take ─▶ shared ─ capacity reached ─▶ full
//   shared, full ─ silent, or the oldest batch is slow ─▶ slow ─ it is answered ─▶ shared
//   slow ─ #cutLate, after a deadline ─▶ cut          shared ─ last answer ─▶ (back to the pool)
//   any ─ the connection breaks ─▶ leaving ─ the last batch on it has failed ─▶ (gone)

interface Connection {
  /** Undefined until it is connected. */
  client: pg.PoolClient | undefined
  readonly connecting: Promise<pg.PoolClient>
  /** Batches in flight, in the order in which PostgreSQL answers them. */
  readonly batches: Set<Batch>
  /** When the last answer came. */
  answered: number
}

/** A batch from its arrival to its answer; all times are those of performance.now(). */
interface Batch {
  /** Whose it is; undefined if nobody's in particular. */
  readonly user: string | undefined
  readonly arrived: number
  /** Undefined while it waits. */
  sent: number | undefined
  resolve?(connection: Connection): void
  reject?(error: Error): void
}

/** Batches of one kind, and the connections that carry them. */
interface Kind {
  readonly connections: Set<Connection>
  /** Those that no connection has room for, or that their user's share has no room for. */
  readonly waiting: Set<Batch>
  /** What each user has under way. */
  readonly users: Map<string, Set<Batch>>
  /** Batches on one connection before another is opened. */
  readonly spreadAt: number
  /** The most batches on one connection. */
  readonly capacity: number
  /** The most batches of one user. */
  readonly share: number
}

// Most batches take far less. What is sent behind one that takes longer would wait for it.
const SILENT_MS = 20
const SLOW_MS = 100
const WATCH_MS = 100

/** Spreads batches over the connections of a pool. */
export class Multiplexer {
  readonly #pool: pg.Pool
  readonly #max: number
  /** The most batches of one kind that a user has under way while one of them is slow. */
  readonly #slowShare: number
  readonly #reads: Kind
  readonly #writes: Kind
  // Broken ones, while batches are still under way on them.
  readonly #leaving = new Set<Connection>()
  readonly #watch: NodeJS.Timeout

  /**
   * @param max connections, at most the pool's
   * @param timeout milliseconds (and up to 100 more) from the arrival of a batch until it is refused, or the connection
   *   that it is on is cut. One timer watches all: pg's own, one for each query, keeps each query in memory until the
   *   next full garbage collection.
   */
  constructor(pool: pg.Pool, max: number, timeout: number) {
    this.#pool = pool
    this.#max = max
    this.#slowShare = Math.max(Math.floor(max / 4), 1)
    // Many reads on one connection share system calls and wake-ups of PostgreSQL, which cost more than most statements.
    this.#reads = kindOf({ spreadAt: 64, capacity: 64, share: Number.POSITIVE_INFINITY })
    // A write can be blocked by another's lock, and waits for the disk at its commit, where several share one flush.
    this.#writes = kindOf({ spreadAt: 1, capacity: 4, share: Math.max(Math.floor(max / 2), 1) })
    this.#watch = setInterval(() => this.#cutLate(timeout), WATCH_MS).unref()
  }

  /**
   * @param writes whether the batch changes anything; only affects scheduling, never correctness
   * @param user whose batch it is, if anybody's: the connections are shared fairly between users
   * @param send must send all its queries before its first await; otherwise two batches interleave on the wire.
   *   `waited` is the time in milliseconds since the batch arrived
   */
  async run<T>(
    writes: boolean,
    user: string | undefined,
    send: (client: pg.PoolClient, waited: number) => Promise<T>,
  ): Promise<T> {
    const [kind, other] = writes && this.#max > 1 ? [this.#writes, this.#reads] : [this.#reads, this.#writes]
    const batch: Batch = { user, arrived: performance.now(), sent: undefined }
    const connection = this.#take(kind, batch) ?? (await this.#wait(kind, batch))
    try {
      const client = connection.client ?? (await connection.connecting)
      return await send(client, performance.now() - batch.arrived)
    } catch (error) {
      // Nothing more is sent on a broken connection, and the pool does not get it back.
      if (isConnectionFault(error) && kind.connections.delete(connection)) {
        this.#leaving.add(connection)
        connection.client?.release(true)
      }
      throw error
    } finally {
      connection.batches.delete(batch)
      connection.answered = performance.now()
      this.#leave(kind, batch)
      if (connection.batches.size === 0) this.#leaving.delete(connection)
      this.#admit(kind)
      if (connection.batches.size === 0 && kind.connections.delete(connection)) connection.client?.release()
      this.#admit(other)
    }
  }

  /** Cuts every connection with batches under way, and refuses those that wait. */
  interrupt(): void {
    const error = new Error('Connection terminated: the service is shutting down')
    for (const kind of [this.#reads, this.#writes]) {
      for (const { client } of kind.connections) if (client) hangUp(client, error)
      for (const batch of kind.waiting) refuse(kind, batch, error)
    }
  }

  /** Ends the watch; the connections are the pool's to close. */
  close(): void {
    clearInterval(this.#watch)
  }

  /** Takes the first connection with few batches, else a new one, else the one with the fewest, if it has room. */
  #take(kind: Kind, batch: Batch): Connection | undefined {
    const now = performance.now()
    if (this.#isHeldBack(kind, batch, now)) return undefined
    let least: Connection | undefined
    for (const connection of kind.connections) {
      const { size } = connection.batches
      if (size >= kind.capacity || isSilent(connection, now) || isSlow(connection.batches, now)) continue
      if (!least || size < least.batches.size) least = connection
      if (size < kind.spreadAt) break
    }
    const connection = least && least.batches.size < kind.spreadAt ? least : (this.#open(kind) ?? least)
    if (!connection) return undefined
    batch.sent = now
    connection.batches.add(batch)
    if (batch.user !== undefined) {
      const theirs = kind.users.get(batch.user)
      if (theirs) theirs.add(batch)
      else kind.users.set(batch.user, new Set([batch]))
    }
    return connection
  }

  /** Whether the user has their share under way already. */
  #isHeldBack(kind: Kind, { user }: Batch, now: number): boolean {
    const theirs = user === undefined ? undefined : kind.users.get(user)
    if (theirs === undefined || theirs.size < this.#slowShare) return false
    return theirs.size >= kind.share || isSlow(theirs, now)
  }

  #leave(kind: Kind, batch: Batch): void {
    const theirs = batch.user === undefined ? undefined : kind.users.get(batch.user)
    if (theirs?.delete(batch) && theirs.size === 0) kind.users.delete(batch.user as string)
  }

  #open(kind: Kind): Connection | undefined {
    const open = this.#reads.connections.size + this.#writes.connections.size
    if (open >= this.#max || kind.connections.size >= Math.max(this.#max - 1, 1)) return undefined
    const connecting = this.#pool.connect()
    const connection: Connection = { client: undefined, connecting, batches: new Set(), answered: 0 }
    connecting.then(
      (client) => (connection.client = client),
      () => kind.connections.delete(connection),
    )
    kind.connections.add(connection)
    return connection
  }

  #wait({ waiting }: Kind, batch: Batch): Promise<Connection> {
    return new Promise((resolve, reject) => {
      Object.assign(batch, { resolve, reject })
      waiting.add(batch)
    })
  }

  /** Gives waiting batches the room that has become free. */
  #admit(kind: Kind): void {
    for (const batch of kind.waiting) {
      if (this.#isHeldBack(kind, batch, performance.now())) continue
      const connection = this.#take(kind, batch)
      if (!connection) return
      kind.waiting.delete(batch)
      batch.resolve?.(connection)
    }
  }

  /** Ends what is past its deadline: PostgreSQL should already have cancelled the statement. */
  #cutLate(timeout: number): void {
    const latest = performance.now() - timeout
    const late = new Error('Query read timeout')
    const isLate = ({ arrived }: Batch) => arrived < latest
    for (const connection of [...this.#leaving, ...this.#reads.connections, ...this.#writes.connections]) {
      const { client, batches } = connection
      if (client && batches.values().some(isLate)) hangUp(client, late)
    }
    for (const kind of [this.#reads, this.#writes]) {
      for (const batch of kind.waiting) if (isLate(batch)) refuse(kind, batch, late)
      this.#admit(kind)
    }
  }
}

function kindOf(options: Pick<Kind, 'spreadAt' | 'capacity' | 'share'>): Kind {
  return { ...options, connections: new Set(), waiting: new Set(), users: new Map() }
}

/** Whether nothing has come back for a while, although something was sent. */
function isSilent({ batches, answered }: Connection, now: number): boolean {
  const [oldest] = batches
  return oldest?.sent !== undefined && Math.max(oldest.sent, answered) < now - SILENT_MS
}

/** Whether the first batch, which is the oldest, was sent long ago. */
function isSlow(batches: Set<Batch>, now: number): boolean {
  const [oldest] = batches
  return oldest?.sent !== undefined && oldest.sent < now - SLOW_MS
}

function refuse({ waiting }: Kind, batch: Batch, error: Error): void {
  waiting.delete(batch)
  batch.reject?.(error)
}
