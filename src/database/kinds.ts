import type pg from 'pg'
import { Backlog } from './backlog.ts'
import { LowerQuartile } from './lower-quartile.ts'

// What the multiplexer (M1 to M10 there) tells apart: kinds of batches, the connections that carry them, and what each
// user has under way.

// Most batches take far less. What is sent behind one that takes longer would wait for it.
const SILENT_MS = 20
const SLOW_MS = 100
// More batches than one process sends in a millisecond.
const MOST_PER_MS = 5
// Batches of one user on a connection before another is opened for the next.
const MANY = 4

export interface Connection {
  readonly kind: Kind
  /** Undefined until it is connected. */
  client: pg.PoolClient | undefined
  readonly connecting: Promise<pg.PoolClient>
  /** Batches in flight, in the order in which PostgreSQL answers them. */
  readonly batches: Batch[]
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
  resolve: ((connection: Connection) => void) | undefined
  reject: ((error: Error) => void) | undefined
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
  /** The fewest connections that may be enough: see `pace`. */
  enough: number
  /** The most batches of one user. */
  share: number
  /** The most batches of one user while one of them is slow. */
  slowShare: number
  /** The most connections. */
  most: number
  /** Whether the other kinds always leave it one. */
  keepsOne: boolean
}

// Lists of a few, not sets and maps: those make new tables as they grow and shrink, several times for each request.
/** Batches of one kind, and the connections that carry them. */
export class Kind {
  readonly connections: Connection[] = []
  /** Those that no connection has room for, or that their user's share has no room for. */
  readonly waiting = new Set<Batch>()
  readonly backlog = new Backlog()
  /**
   * Milliseconds between two answers on one connection. As many connections as it takes to have MOST_PER_MS of them are
   * enough: while they have room no other is opened.
   */
  readonly pace = new LowerQuartile(1 / MOST_PER_MS)
  readonly #limits: Limits

  constructor(limits: Limits) {
    this.#limits = limits
  }

  get isFull(): boolean {
    return this.connections.length >= this.#limits.most
  }

  /** Whether some wait, and no connection carries any. */
  get isStarved(): boolean {
    return this.connections.length === 0 && this.waiting.size > 0
  }

  /** Whether a connection is to be left to it. */
  get isOwed(): boolean {
    return this.isStarved || (this.#limits.keepsOne && this.connections.length === 0)
  }

  get load(): Load {
    let underWay = 0
    for (const { batches } of this.connections) underWay += batches.length
    return { connections: this.connections.length, underWay, waiting: this.waiting.size }
  }

  /** Whether the user has their share under way already. */
  isHeldBack({ user }: Batch, now: number): boolean {
    if (user === undefined) return false
    const { share, slowShare } = this.#limits
    if (share === Infinity && !this.connections.some(({ batches }) => isSlow(batches[0], now))) return false
    let theirs = 0
    let isOneSlow = false
    for (const { batches } of this.connections) {
      for (const batch of batches) {
        if (batch.user !== user) continue
        theirs += 1
        isOneSlow ||= isSlow(batch, now)
      }
    }
    return theirs >= share || (isOneSlow && theirs >= slowShare)
  }

  /**
   * The connection to take, but for some: the first with few batches, or, of enough, the one with the fewest. If there is
   * none, and no other can be opened, the one with the fewest is better than to wait.
   */
  find(
    batch: Batch,
    now: number,
    except: ReadonlySet<Connection>,
  ): { best?: Connection; fewest?: Connection } {
    const { spreadAt, capacity, enough } = this.#limits
    let fewest: Connection | undefined
    for (const connection of this.connections) {
      const { batches } = connection
      if (except.has(connection) || batches.length >= capacity) continue
      if (isSilent(connection, now) || isSlow(batches[0], now)) continue
      if (batches.length < spreadAt && !hasMany(batches, batch)) return { best: connection }
      if (!fewest || batches.length < fewest.batches.length) fewest = connection
    }
    const isEnough = this.connections.length >= Math.max(enough, this.pace.value * MOST_PER_MS)
    return { best: isEnough ? fewest : undefined, fewest }
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

/** Whether several are the user's: whoever comes behind them waits for all, if they are slow. */
function hasMany(batches: readonly Batch[], { user }: Batch): boolean {
  if (user === undefined || batches.length < MANY) return false
  let theirs = 0
  for (const batch of batches) if (batch.user === user) theirs += 1
  return theirs >= MANY
}

/** Whether nothing has come back for a while, although something was sent. */
export function isSilent({ batches, answered }: Connection, now: number, ms = SILENT_MS): boolean {
  const sent = batches[0]?.sent
  return sent !== undefined && Math.max(sent, answered) < now - ms
}

/** Whether it was sent long ago. The first one on a connection is the oldest. */
function isSlow(batch: Batch | undefined, now: number): boolean {
  return batch?.sent !== undefined && batch.sent < now - SLOW_MS
}

/** Takes an item out of a list; returns whether it was there. */
export function remove<T>(list: T[], item: T): boolean {
  const place = list.indexOf(item)
  if (place >= 0) list.splice(place, 1)
  return place >= 0
}
