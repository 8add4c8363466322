import type pg from 'pg'

// What the multiplexer (M1 to M9 there) tells apart: kinds of batches, the connections that carry them, and what each
// user has under way.

// Most batches take far less. What is sent behind one that takes longer would wait for it.
const SILENT_MS = 20
const SLOW_MS = 100
// Batches of one user on a connection before another is opened for the next.
const MANY = 4

export interface Connection {
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
export interface Batch {
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

interface Limits {
  /** Batches on one connection before another is opened. */
  spreadAt: number
  /** The most batches on one connection. */
  capacity: number
  /** The most batches of one user. */
  share: number
  /** The most batches of one user while one of them is slow. */
  slowShare: number
  /** The most connections. */
  most: number
}

/** Batches of one kind, and the connections that carry them. */
export class Kind {
  readonly connections = new Set<Connection>()
  /** Those that no connection has room for, or that their user's share has no room for. */
  readonly waiting = new Set<Batch>()
  /** What each user has under way. */
  readonly #users = new Map<string, Set<Batch>>()
  readonly #limits: Limits

  constructor(limits: Limits) {
    this.#limits = limits
  }

  get isFull(): boolean {
    return this.connections.size >= this.#limits.most
  }

  get load(): Load {
    let underWay = 0
    for (const { batches } of this.connections) underWay += batches.size
    return { connections: this.connections.size, underWay, waiting: this.waiting.size }
  }

  /** Whether the user has their share under way already. */
  isHeldBack({ user }: Batch, now: number): boolean {
    const theirs = user === undefined ? undefined : this.#users.get(user)
    if (theirs === undefined) return false
    const { share, slowShare } = this.#limits
    return theirs.size >= share || (theirs.size >= slowShare && isSlow(theirs, now))
  }

  /** The first connection with few batches; if there is none, the one with the fewest that has room. */
  find(batch: Batch, now: number): { few?: Connection; fewest?: Connection } {
    const { spreadAt, capacity } = this.#limits
    let fewest: Connection | undefined
    for (const connection of this.connections) {
      const { size } = connection.batches
      if (size >= capacity || isSilent(connection, now) || isSlow(connection.batches, now)) continue
      if (size < spreadAt && !this.#hasMany(connection, batch)) return { few: connection }
      if (!fewest || size < fewest.batches.size) fewest = connection
    }
    return { fewest }
  }

  /** Whether it carries several of the user already: whoever comes behind them waits for all, if they are slow. */
  #hasMany({ batches }: Connection, { user }: Batch): boolean {
    if (user === undefined || (this.#users.get(user)?.size ?? 0) < MANY) return false
    let theirs = 0
    for (const batch of batches) if (batch.user === user) theirs += 1
    return theirs >= MANY
  }

  /** The batch is under way on one of the connections. */
  add(connection: Connection, batch: Batch): void {
    connection.batches.add(batch)
    if (batch.user === undefined) return
    const theirs = this.#users.get(batch.user)
    if (theirs) theirs.add(batch)
    else this.#users.set(batch.user, new Set([batch]))
  }

  /** The batch has ended. */
  delete(connection: Connection, batch: Batch): void {
    connection.batches.delete(batch)
    const theirs = batch.user === undefined ? undefined : this.#users.get(batch.user)
    if (theirs?.delete(batch) && theirs.size === 0) this.#users.delete(batch.user as string)
  }

  putFirst(batch: Batch): void {
    const others = [...this.waiting]
    this.waiting.clear()
    for (const one of [batch, ...others]) this.waiting.add(one)
  }

  refuse(batch: Batch, error: Error): void {
    this.waiting.delete(batch)
    batch.reject?.(error)
  }
}

/** Whether nothing has come back for a while, although something was sent. */
export function isSilent({ batches, answered }: Connection, now: number, ms = SILENT_MS): boolean {
  const [oldest] = batches
  return oldest?.sent !== undefined && Math.max(oldest.sent, answered) < now - ms
}

/** Whether the first batch, which is the oldest, was sent long ago. */
function isSlow(batches: Set<Batch>, now: number): boolean {
  const [oldest] = batches
  return oldest?.sent !== undefined && oldest.sent < now - SLOW_MS
}
