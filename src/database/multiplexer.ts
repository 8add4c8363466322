import type pg from 'pg'
import { hangUp } from './batch.ts'
import type { Connections } from './connections.ts'
import { isAnswerLost, isConnectionFault, isReadOnly } from './faults.ts'
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
//   M6  However many connections of one kind are slow, each other kind can get one. With fewer connections than FEW
//       slow ones are no kind of their own, and with one there is one kind.
//   M7  Every batch ends by its deadline, which counts from when it arrived: one that waits, for room or until its
//       connection is made, is refused, and a connection that is silent for longer is cut.
//   M8  A connection that is broken or cut never returns to the pool; its batches fail.
//   M9  Once a session has refused to write, or another host is the one to use, no batch is written to the connections of
//       before. What is under way on them may end, and then they are closed.
//
// States of a connection
//   (none)  ─ #open ─▶ idle ─ #take ─▶ shared ─ capacity reached ─▶ full
//   not connected yet ─ all its batches are refused ─▶ (back to the pool, once it is connected)
//   shared, full ─ silent, or the oldest batch is slow ─▶ slow ─ it is answered ─▶ shared
//   slow ─ #cutLate, after a deadline ─▶ cut          shared ─ last answer ─▶ (back to the pool)
//   any ─ the connection breaks, or is left ─▶ leaving ─ the last batch on it has ended ─▶ (gone)

interface Connection {
  readonly kind: Kind
  /** Undefined until it is connected. */
  client: pg.PoolClient | undefined
  readonly connecting: Promise<pg.PoolClient>
  /** Batches in flight, in the order in which PostgreSQL answers them. */
  readonly batches: Set<Batch>
  /** When it was connected, or the last answer came. */
  answered: number
  /** Whether the pool has it back. */
  released: boolean
}

/** A batch from its arrival to its answer; all times are those of performance.now(). */
interface Batch {
  /** Whose it is; undefined if nobody's in particular. */
  readonly user: string | undefined
  readonly arrived: number
  /** Undefined while it waits. */
  sent: number | undefined
  /** Whether it has waited for a lock already. */
  readonly wasBlocked: boolean
  /** Whether it may, and will, wait for that lock for as long as it has. */
  blocked: boolean
  /** Its kind while its user is not slow. */
  readonly usual: Kind
  /** Whether the connection had no other when it was sent. */
  alone: boolean
  /** SlowUsers.quick when it was sent. */
  quickBefore: number
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
  /** The most connections. */
  readonly most: number
}

/** The batches of slow users, and those that wait for a lock, are kinds of their own. */
export type KindName = 'reads' | 'writes' | 'slow' | 'blocked'

/** What a kind of batches has under way. */
export interface Load {
  connections: number
  /** Batches that PostgreSQL has been sent. */
  underWay: number
  /** Batches that no connection has room for yet. */
  waiting: number
}

type Source = Pick<Connections, 'connect' | 'leave' | 'onLeave'>

// Most batches take far less. What is sent behind one that takes longer would wait for it.
const SILENT_MS = 20
const SLOW_MS = 100
const WATCH_MS = 100
const FEW = 8
// Batches of one user on a connection before another is opened for the next.
const MANY = 2
// Nearly all batches take less: after that, and no more often, somebody should look whether the host is still there.
const DOUBT_MS = 1_000
// Batches that try again when one has got its lock.
const UNBLOCKED = 4

/** Spreads batches over the connections of a pool. */
export class Multiplexer {
  readonly #pool: Source
  readonly #max: number
  /** The most batches of one kind that a user has under way while one of them is slow. */
  readonly #slowShare: number
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
  #doubted = 0
  readonly #watch: NodeJS.Timeout

  /**
   * @param max connections, at most the pool's
   * @param timeout milliseconds (and up to 100 more) from the arrival of a batch until it is refused, or the connection
   *   that it is on is cut. One timer watches all: pg's own, one for each query, keeps each query in memory until the
   *   next full garbage collection.
   * @param onDoubt called while a connection has been silent for a second
   */
  constructor(pool: Source, max: number, timeout: number, onDoubt: () => void = () => {}) {
    this.#pool = pool
    this.#onDoubt = onDoubt
    pool.onLeave = () => this.#leaveAll()
    this.#max = max
    this.#slowShare = Math.max(Math.floor(max / 4), 1)
    // Many reads on one connection share system calls and wake-ups of PostgreSQL, which cost more than most statements.
    this.#reads = kindOf({ spreadAt: 64, capacity: 64, share: Infinity, most: max })
    // A write can be blocked by another's lock, and waits for the disk at its commit, where several share one flush.
    this.#writes = kindOf({ spreadAt: 1, capacity: 4, share: Math.max(Math.floor(max / 2), 1), most: max })
    // A slow statement takes a core of the database.
    this.#slow = kindOf({ spreadAt: 1, capacity: 1, share: 1, most: Math.floor(max / 2) })
    this.#blocked = kindOf({
      spreadAt: 1,
      capacity: 1,
      share: Math.max(Math.floor(max / 8), 1),
      most: this.#slowShare,
    })
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
   *   `waited` is the time in milliseconds since the batch arrived; `blocked` is false where it holds up others
   */
  async run<T>(
    { writes, user, spent, blocked }: Pick<Batch, 'user' | 'blocked'> & { writes: boolean; spent: number },
    send: (client: pg.PoolClient, waited: number, blocked: boolean) => Promise<T>,
  ): Promise<T> {
    const now = performance.now()
    const usual = writes && this.#max > 1 ? this.#writes : this.#reads
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
    }
    const kind = this.#kindOf(batch)
    const isHeldBack = this.#isHeldBack(kind, batch, now)
    const connection = (isHeldBack ? undefined : this.#take(kind, batch)) ?? (await this.#wait(kind, batch))
    try {
      const client = connection.client ?? (await connected(connection, batch))
      const result = await send(client, performance.now() - batch.arrived, batch.blocked)
      this.#record(connection, batch)
      if (batch.wasBlocked) this.#unblock()
      return result
    } catch (error) {
      // Its lock did not come in time, even if it was its turn to ask for it only at the end.
      if (batch.blocked) this.#slowUsers.add(user, performance.now())
      else if (!isAnswerLost(error)) this.#record(connection, batch)
      // Nothing more is sent on a broken connection, and the pool does not get it back.
      const { client } = connection
      if (client && isConnectionFault(error) && connection.kind.connections.delete(connection)) {
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

  get load(): Record<KindName, Load> {
    return {
      reads: loadOf(this.#reads),
      writes: loadOf(this.#writes),
      slow: loadOf(this.#slow),
      blocked: loadOf(this.#blocked),
    }
  }

  /** Cuts every connection with batches under way, and refuses those that wait. */
  interrupt(): void {
    const error = new Error('Connection terminated: the service is shutting down')
    for (const connection of this.#inUse()) fail(connection, error)
    for (const kind of this.#kinds) for (const batch of kind.waiting) refuse(kind, batch, error)
  }

  /** Ends the watch; the connections are the pool's to close. */
  close(): void {
    clearInterval(this.#watch)
  }

  #end(connection: Connection, batch: Batch): void {
    const { kind, batches } = connection
    batches.delete(batch)
    connection.answered = performance.now()
    const theirs = batch.user === undefined ? undefined : kind.users.get(batch.user)
    if (theirs?.delete(batch) && theirs.size === 0) kind.users.delete(batch.user as string)
    if (batches.size === 0 && this.#leaving.delete(connection)) release(connection, true)
    this.#admit(kind)
    if (batches.size === 0 && kind.connections.delete(connection)) release(connection)
    for (const other of this.#kinds) if (other !== kind) this.#admit(other)
  }

  #record({ answered }: Connection, { user, sent = 0, alone, quickBefore }: Batch): void {
    const now = performance.now()
    this.#slowUsers.record(user, { ms: now - Math.max(sent, answered), alone, quickBefore, now })
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
      putFirst(this.#kindOf(batch), batch) // it arrived long ago
    }
  }

  /** The kind of a batch as things stand. */
  #kindOf({ user, blocked, usual }: Batch): Kind {
    if (this.#max < FEW) return usual
    if (blocked) return this.#blocked
    return this.#slowUsers.has(user) ? this.#slow : usual
  }

  /** Takes the first connection with few batches, else a new one, else the one with the fewest, if it has room. */
  #take(kind: Kind, batch: Batch): Connection | undefined {
    const now = performance.now()
    let chosen: Connection | undefined
    let least: Connection | undefined
    for (const connection of kind.connections) {
      const { size } = connection.batches
      if (size >= kind.capacity || isSilent(connection, now) || isSlow(connection.batches, now)) continue
      if (size < kind.spreadAt && !hasMany(connection, batch, kind)) {
        chosen = connection
        break
      }
      if (!least || size < least.batches.size) least = connection
    }
    const connection = chosen ?? this.#open(kind) ?? least
    if (!connection) return undefined
    batch.sent = now
    batch.alone = connection.batches.size === 0
    batch.quickBefore = this.#slowUsers.quick
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
    if (theirs === undefined) return false
    return theirs.size >= kind.share || (theirs.size >= this.#slowShare && isSlow(theirs, now))
  }

  #open(kind: Kind): Connection | undefined {
    let open = 0
    for (const other of this.#kinds) open += other.connections.size || (other === kind ? 0 : 1)
    if (open >= this.#max || kind.connections.size >= kind.most) return undefined
    const connecting = this.#pool.connect()
    const connection: Connection = {
      kind,
      client: undefined,
      connecting,
      batches: new Set(),
      answered: 0,
      released: false,
    }
    connecting.then(
      (client) => {
        connection.client = client
        connection.answered = performance.now()
        if (connection.released) client.release() // nobody has waited for it
      },
      () => kind.connections.delete(connection),
    )
    kind.connections.add(connection)
    return connection
  }

  /** Those that are being opened are of the host to use by the time they are. */
  #leaveAll(): void {
    for (const kind of this.#kinds) {
      for (const connection of kind.connections) {
        if (!connection.client) continue
        kind.connections.delete(connection)
        this.#leaving.add(connection)
      }
    }
    for (const kind of this.#kinds) this.#admit(kind)
  }

  #inUse(): Connection[] {
    const open = this.#kinds.map(({ connections }) => [...connections])
    return [...this.#leaving, ...open.flat()]
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
      const current = this.#kindOf(batch)
      if (current !== kind) {
        kind.waiting.delete(batch)
        current.waiting.add(batch)
        continue
      }
      if (this.#isHeldBack(kind, batch, performance.now())) continue
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
    for (const connection of this.#inUse()) fail(connection, late, isLate)
    const isDoubtful = (connection: Connection) => isSilent(connection, now, DOUBT_MS)
    if (this.#doubted < now - DOUBT_MS && this.#inUse().some(isDoubtful)) {
      this.#doubted = now
      this.#onDoubt()
    }
    for (const kind of this.#kinds) {
      for (const batch of kind.waiting) if (isLate(batch)) refuse(kind, batch, late)
      this.#admit(kind)
    }
  }
}

function kindOf(options: Pick<Kind, 'spreadAt' | 'capacity' | 'share' | 'most'>): Kind {
  return { ...options, connections: new Set(), waiting: new Set(), users: new Map() }
}

function loadOf({ connections, waiting }: Kind): Load {
  let underWay = 0
  for (const { batches } of connections) underWay += batches.size
  return { connections: connections.size, underWay, waiting: waiting.size }
}

/** Whether nothing has come back for a while, although something was sent. */
function isSilent({ batches, answered }: Connection, now: number, ms = SILENT_MS): boolean {
  const [oldest] = batches
  return oldest?.sent !== undefined && Math.max(oldest.sent, answered) < now - ms
}

/** Whether the first batch, which is the oldest, was sent long ago. */
function isSlow(batches: Set<Batch>, now: number): boolean {
  const [oldest] = batches
  return oldest?.sent !== undefined && oldest.sent < now - SLOW_MS
}

function connected({ connecting }: Connection, batch: Batch): Promise<pg.PoolClient> {
  return new Promise((resolve, reject) => {
    batch.reject = reject
    connecting.then(resolve, reject)
  })
}

/** Fails these batches; what was sent fails with its connection, and with all that is on it. */
function fail({ client, batches }: Connection, error: Error, which = (_batch: Batch) => true): void {
  const some = [...batches].filter(which)
  if (some.length === 0) return
  if (client) hangUp(client, error)
  else for (const batch of some) batch.reject?.(error)
}

/** Whether it carries several batches of the user already: whoever comes behind them waits for all, if they are slow. */
function hasMany({ batches }: Connection, { user }: Batch, { users }: Kind): boolean {
  if (user === undefined || (users.get(user)?.size ?? 0) < MANY) return false
  let theirs = 0
  for (const batch of batches) if (batch.user === user) theirs += 1
  return theirs >= MANY
}

function release(connection: Connection, isBroken = false): void {
  if (connection.released) return
  connection.released = true
  connection.client?.release(isBroken)
}

function putFirst({ waiting }: Kind, batch: Batch): void {
  const others = [...waiting]
  waiting.clear()
  for (const one of [batch, ...others]) waiting.add(one)
}

function refuse({ waiting }: Kind, batch: Batch, error: Error): void {
  waiting.delete(batch)
  batch.reject?.(error)
}
