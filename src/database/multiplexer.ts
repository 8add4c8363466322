import type pg from 'pg'
import { MOST } from './backlog.ts'
import { hangUp } from './batch.ts'
import type { Connections } from './connections.ts'
import { isAnswerLost, isConnectionFault, isReadOnly, OverloadedError } from './faults.ts'
import { type Batch, type Connection, isSilent, Kind, type KindName, type Load, remove } from './kinds.ts'
import { SlowUsers } from './slow-users.ts'

// Several requests share a connection: each writes its whole batch at once and PostgreSQL answers in order, so no
// request waits for another's round trip. The pool still connects, and drops broken and idle connections.
//
// Invariants
//   M1  A batch runs on one connection, and sends all its queries before its first await.
//   M2  A connection carries at most `capacity` batches of one kind: reads, writes, or, one at a time, slow ones: those
//       of slow users (SlowUsers), and those that wait for a lock.
//   M3  No further batch is written to a connection that has been silent for SILENT_MS, or whose oldest batch was sent
//       more than SLOW_MS ago.
//   M4  A user has at most half as many writes under way as there are connections, and one slow batch. While one of a
//       user's reads or writes is slow, the user has at most a quarter of that kind. A connection that carries MANY
//       batches of a user gets no more of them as long as another can be opened.
//   M5  Waiting batches are served in order of arrival, but for those that M4 holds back, as soon as a connection of
//       their kind has room. When one has got the lock that it waited for, others that wait for one are writes again.
//   M6  Reads and writes leave each other one connection. A kind that has none, while some of it wait, gets the next one
//       that there is: if none could be opened, another kind gives one up, on which nothing more is sent, and one more
//       while that is stuck. With fewer connections than FEW slow ones are no kind of their own, and with one there is one
//       kind.
//   M7  Every batch ends by its deadline, which counts from when it arrived: one that waits, for room or until its
//       connection is made, is refused, and a connection whose oldest batch is past its own is cut. It waits for room for
//       half of that time at most, unless its kind has slowed down since it came: isOverloaded() says when to send no more.
//       Of those that are known to wait for a lock, no more than MOST do.
//   M8  A connection that is broken or cut never returns to the pool; its batches fail.
//   M9  Once a session has refused to write, or another host is the one to use, no batch is written to the connections of
//       before. What is under way on them may end, and then they are closed.
//   M10 What others are sent behind, or while locks are known, waits for a lock for LOCK_MS at most, and the first on a
//       connection for LOCK_ALONE_MS. Whoever was not given it by then comes again, as one that waits for a lock.
//
// States of a connection
//   (none)  ─ #open ─▶ idle ─ #take ─▶ shared ─ capacity reached ─▶ full
//   not connected yet ─ all its batches are refused ─▶ (back to the pool, once it is connected)
//   shared, full ─ silent, or the oldest batch is slow ─▶ slow ─ it is answered ─▶ shared
//   slow ─ #cutLate, after a deadline ─▶ cut          shared ─ last answer ─▶ (back to the pool)
//   any ─ the connection breaks, or is left ─▶ leaving ─ the last batch on it has ended ─▶ (gone)

type Source = Pick<Connections, 'connect' | 'leave' | 'onLeave'>

const WATCH_MS = 100
const FEW = 8
// While no batch is answered for as long, somebody should look whether the host is still there: one that
// was switched off does not even close its connections.
const DOUBT_MS = 1_000
const LOCK_ALONE_MS = 20
const LOCK_MS = 2
// How long one that was not given its lock in time says that there are locks.
const LOCKS_KEPT_MS = 1_000
// One that is silent for as long, after it was given up, may be so for long.
const STUCK_MS = 100
// Batches that try again when one has got its lock.
const UNBLOCKED = 4

/** Spreads batches over the connections of a pool. */
export class Multiplexer {
  readonly #pool: Source
  readonly #max: number
  readonly #reads: Kind
  readonly #writes: Kind
  readonly #slow: Kind
  readonly #blocked: Kind
  /** Those there are. */
  readonly #kinds: readonly Kind[]
  readonly #slowUsers = new SlowUsers()
  // Broken ones, and those that were left, while batches are still under way on them.
  readonly #leaving = new Set<Connection>()
  readonly #onDoubt: () => void
  /** When the last answer came, or somebody was asked to look. */
  #heard = 0
  #locksUntil = 0
  /** Nothing more is sent on them, so that another kind gets one. */
  readonly #givenUp = new Set<Connection>()
  readonly #watch: NodeJS.Timeout

  /**
   * @param max connections, at most the pool's
   * @param timeout milliseconds (and up to 100 more) from the arrival of a batch until it is refused, or the connection
   *   that it is on is cut. One timer watches all: pg's own, one for each query, keeps each query in memory until the
   *   next full garbage collection.
   * @param onDoubt called while all have been silent for a second, each second
   */
  constructor(pool: Source, max: number, timeout: number, onDoubt: () => void = () => {}) {
    this.#pool = pool
    this.#onDoubt = onDoubt
    pool.onLeave = () => this.#leaveAll()
    this.#max = max
    const half = Math.max(Math.floor(max / 2), 1)
    const quarter = Math.max(Math.floor(max / 4), 1)
    const limits = { enough: Infinity, share: Infinity, slowShare: quarter, most: max, keepsOne: true }
    // Many reads on one connection share system calls and wake-ups of PostgreSQL, which cost more than most statements.
    this.#reads = new Kind({ ...limits, spreadAt: 64, capacity: 64 })
    // Writes wait for the disk at their commit, where those of several connections share one flush. On more of them than
    // that takes, PostgreSQL's processes keep each other waiting.
    const enough = max < FEW ? max : Math.ceil(max / 3)
    this.#writes = new Kind({ ...limits, spreadAt: 1, capacity: 16, enough, share: half })
    // A slow statement takes a core of the database.
    const alone = { ...limits, spreadAt: 1, capacity: 1, keepsOne: false }
    this.#slow = new Kind({ ...alone, share: 1, most: half })
    this.#blocked = new Kind({ ...alone, share: Math.max(Math.floor(max / 8), 1), most: quarter })
    const kinds = [this.#reads, this.#writes, this.#slow, this.#blocked]
    this.#kinds = max < FEW ? kinds.slice(0, Math.min(max, 2)) : kinds
    this.#watch = setInterval(() => this.#cutLate(timeout), WATCH_MS).unref()
  }

  /**
   * @param writes whether the batch changes anything; only affects scheduling, never correctness
   * @param user whose batch it is, if anybody's: the connections are shared fairly between users
   * @param spent milliseconds since the batch arrived
   * @param blocked whether it is known to wait for a lock
   * @param send must send all its queries before its first await; otherwise two batches interleave on the wire.
   *   `waited` is the time in milliseconds since the batch arrived; `patience` are those for which it may wait for a lock,
   *   undefined if for all of its time
   * @throws OverloadedError if it is blocked, and as many as may wait for locks do
   */
  async run<T>(
    { writes, user, spent, blocked }: Pick<Batch, 'user' | 'blocked'> & { writes: boolean; spent: number },
    send: (client: pg.PoolClient, waited: number, patience: number | undefined) => Promise<T>,
  ): Promise<T> {
    if (blocked && this.#blocked.waiting.size >= MOST) throw new OverloadedError()
    const now = performance.now()
    if (blocked) this.#locksUntil = now + LOCKS_KEPT_MS
    const usual = this.#usual(writes)
    const arrived = now - spent
    const batch: Batch = {
      user,
      arrived,
      sent: undefined,
      wasBlocked: blocked,
      blocked,
      usual,
      alone: false,
      quickBefore: 0,
      resolve: undefined,
      reject: undefined,
    }
    const kind = this.#kindOf(batch)
    const isHeldBack = kind.isHeldBack(batch, now)
    const connection = (isHeldBack ? undefined : this.#take(kind, batch)) ?? (await this.#wait(kind, batch))
    try {
      const client = connection.client ?? (await connected(connection, batch))
      const sent = performance.now()
      const result = await send(client, sent - batch.arrived, this.#patience(batch, sent))
      this.#record(connection, batch)
      if (batch.wasBlocked) this.#unblock()
      return result
    } catch (error) {
      // Its lock did not come in time, even if it was its turn to ask for it only at the end.
      if (batch.blocked) this.#slowUsers.add(user, performance.now())
      else if (!isAnswerLost(error)) this.#record(connection, batch)
      // Nothing more is sent on a broken connection, and the pool does not get it back.
      const { client } = connection
      if (client && isConnectionFault(error) && remove(connection.kind.connections, connection)) {
        this.#leaving.add(connection)
        // One that refuses to write is sound: what else is under way on it has an answer of its own.
        if (isReadOnly(error)) this.#pool.leave(client)
        else release(connection, true)
      }
      throw error
    } finally {
      this.#end(connection, batch)
    }
  }

  /** Whether a batch that comes now would wait in vain for a connection. */
  isOverloaded(user: string, writes: boolean): boolean {
    return this.#kindOf({ user, blocked: false, usual: this.#usual(writes) }).backlog.isFull
  }

  get load(): Record<KindName, Load> {
    return {
      reads: this.#reads.load,
      writes: this.#writes.load,
      slow: this.#slow.load,
      blocked: this.#blocked.load,
    }
  }

  /** Cuts every connection with batches under way, and refuses those that wait. */
  interrupt(): void {
    const error = new Error('Connection terminated: the service is shutting down')
    for (const connection of this.#inUse()) fail(connection, error)
    for (const kind of this.#kinds) for (const batch of kind.waiting) kind.refuse(batch, error)
  }

  /** Ends the watch; the connections are the pool's to close. */
  close(): void {
    clearInterval(this.#watch)
  }

  #end(connection: Connection, batch: Batch): void {
    const { kind, batches } = connection
    remove(batches, batch)
    kind.backlog.served()
    connection.answered = performance.now()
    this.#giveUp(connection)
    if (batches.length === 0 && this.#leaving.delete(connection)) release(connection, true)
    this.#admit(kind)
    if (batches.length === 0) {
      this.#givenUp.delete(connection)
      if (remove(kind.connections, connection)) release(connection)
    }
    for (const other of this.#kinds) if (other !== kind) this.#admit(other)
  }

  /** While a kind is starved another gives up one connection, and one more if none of those is free soon, but for its last. */
  #giveUp(connection: Connection): void {
    if (!this.#kinds.some(({ isStarved }) => isStarved)) {
      if (this.#givenUp.size > 0) this.#givenUp.clear()
      return
    }
    const now = performance.now()
    const isStuck = (one: Connection) => isSilent(one, now, STUCK_MS) || !one.kind.connections.includes(one)
    const kept = connection.kind.connections.filter((one) => !this.#givenUp.has(one))
    if (kept.length > 1 && kept.includes(connection) && [...this.#givenUp].every(isStuck))
      this.#givenUp.add(connection)
  }

  #record({ kind, answered }: Connection, { user, sent = 0, alone, quickBefore }: Batch): void {
    const now = performance.now()
    const ms = now - Math.max(sent, answered)
    this.#heard = now
    if (!alone) kind.pace.add(ms)
    this.#slowUsers.record(user, { ms, alone, quickBefore, now })
  }

  /**
   * A lock has gone, and others may wait for the same one: some try again among the other writes. Each that gets through
   * lets more of them try.
   */
  #unblock(): void {
    const some = [...this.#blocked.waiting.values().take(UNBLOCKED)]
    for (const batch of some.toReversed()) {
      this.#blocked.waiting.delete(batch)
      batch.blocked = false
      this.#kindOf(batch).putFirst(batch) // it arrived long ago
    }
  }

  #usual(writes: boolean): Kind {
    return writes && this.#max > 1 ? this.#writes : this.#reads
  }

  /** The kind of a batch as things stand. */
  #kindOf({ user, blocked, usual }: Pick<Batch, 'user' | 'blocked' | 'usual'>): Kind {
    if (this.#max < FEW) return usual
    if (blocked) return this.#blocked
    return this.#slowUsers.has(user) ? this.#slow : usual
  }

  #patience({ blocked, alone }: Batch, now: number): number | undefined {
    if (blocked) return undefined
    return alone && now > this.#locksUntil ? LOCK_ALONE_MS : LOCK_MS
  }

  /** Takes the best connection, else a new one, else the one with the fewest batches, if it has room. */
  #take(kind: Kind, batch: Batch): Connection | undefined {
    const now = performance.now()
    const { best, fewest } = kind.find(batch, now, this.#givenUp)
    const connection = best ?? this.#open(kind) ?? fewest
    if (!connection) return undefined
    batch.sent = now
    batch.alone = connection.batches.length === 0
    batch.quickBefore = this.#slowUsers.quick
    connection.batches.push(batch)
    return connection
  }

  #open(kind: Kind): Connection | undefined {
    let open = 0
    for (const other of this.#kinds)
      open += other.connections.length || (other !== kind && other.isOwed ? 1 : 0)
    if (open >= this.#max || kind.isFull) return undefined
    const connecting = this.#pool.connect()
    const connection: Connection = {
      kind,
      client: undefined,
      connecting,
      batches: [],
      answered: 0,
      released: false,
    }
    connecting.then(
      (client) => {
        connection.client = client
        connection.answered = performance.now()
        if (connection.released) client.release() // nobody has waited for it
      },
      () => remove(kind.connections, connection),
    )
    kind.connections.push(connection)
    return connection
  }

  /** Those that are being opened are of the host to use by the time they are. */
  #leaveAll(): void {
    for (const kind of this.#kinds) {
      for (const connection of kind.connections.filter(({ client }) => client)) {
        remove(kind.connections, connection)
        this.#leaving.add(connection)
      }
    }
    for (const kind of this.#kinds) this.#admit(kind)
  }

  #inUse(): Connection[] {
    return [...this.#leaving, ...this.#kinds.flatMap(({ connections }) => connections)]
  }

  #wait({ waiting }: Kind, batch: Batch): Promise<Connection> {
    return new Promise((resolve, reject) => {
      batch.resolve = resolve
      batch.reject = reject
      waiting.add(batch)
    })
  }

  /** Gives waiting batches the room that has become free. */
  #admit(kind: Kind): void {
    for (const batch of kind.waiting) {
      const current = this.#kindOf(batch)
      if (current !== kind) {
        kind.waiting.delete(batch)
        current.waiting.add(batch)
        continue
      }
      if (kind.isHeldBack(batch, performance.now())) continue
      const connection = this.#take(kind, batch)
      if (!connection) return
      kind.waiting.delete(batch)
      batch.resolve?.(connection)
    }
  }

  /** Ends what is past its deadline: PostgreSQL should already have cancelled the statement. */
  #cutLate(timeout: number): void {
    const now = performance.now()
    const latest = now - timeout
    this.#slowUsers.forgetOld(now)
    const late = new Error('Query read timeout')
    const isLate = ({ arrived }: Batch) => arrived < latest
    for (const connection of this.#inUse()) {
      const [oldest] = connection.batches
      // One that has spent its time elsewhere does not end those in front of it.
      if (!connection.client || (oldest && isLate(oldest))) fail(connection, late, isLate)
    }
    const isDoubtful = (connection: Connection) => isSilent(connection, now, DOUBT_MS)
    if (this.#heard < now - DOUBT_MS && this.#inUse().some(isDoubtful)) {
      this.#heard = now
      this.#onDoubt()
    }
    for (const kind of this.#kinds) {
      for (const batch of kind.waiting) if (isLate(batch)) kind.refuse(batch, late)
      kind.backlog.measure(kind.waiting, now, timeout / 2)
      this.#admit(kind)
    }
  }
}

function connected({ connecting }: Connection, batch: Batch): Promise<pg.PoolClient> {
  return new Promise((resolve, reject) => {
    batch.reject = reject
    connecting.then(resolve, reject)
  })
}

/** Fails these batches; what was sent fails with its connection, and with all that is on it. */
function fail({ client, batches }: Connection, error: Error, which = (_batch: Batch) => true): void {
  const some = batches.filter(which)
  if (some.length === 0) return
  if (client) hangUp(client, error)
  else for (const batch of some) batch.reject?.(error)
}

function release(connection: Connection, isBroken = false): void {
  if (connection.released) return
  connection.released = true
  connection.client?.release(isBroken)
}
