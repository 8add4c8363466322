import { LowerQuartile } from './lower-quartile.ts'

// Which users take much longer than is usual: their rows are locked, or they have very many. Only affects scheduling,
// never correctness.

const SLOW_MS = 100
// On a distant or an overloaded database everybody takes long, and nobody is to blame.
const TIMES_USUAL = 10
const KEPT_MS = 5_000

/** How long a batch took. */
export interface Taken {
  /** Milliseconds, without those for the batches before it on the connection. */
  ms: number
  /** Whether there were none before it: otherwise the way there and back is not in `ms`. */
  alone: boolean
  /** What `quick` was when it was sent. */
  quickBefore: number
  /** performance.now() */
  now: number
}

/**
 * Remembers for five seconds who had a batch that took 100 ms and ten times what is usual, while others were quick, or
 * one that waited for a lock in vain.
 */
export class SlowUsers {
  /** Milliseconds that batches take that are alone on their connection. */
  readonly #usual = new LowerQuartile(SLOW_MS)
  /** Until when each of them counts as slow, first the one with the least time left. */
  readonly #until = new Map<string, number>()
  /** Batches that did not take long. A database that stands still for a moment has none meanwhile. */
  quick = 0

  /** @param user undefined if nobody in particular */
  record(user: string | undefined, { ms, alone, quickBefore, now }: Taken): void {
    const isQuick = ms < SLOW_MS || ms < TIMES_USUAL * this.#usual.value
    if (alone) this.#usual.add(ms)
    if (isQuick) this.quick += 1
    else if (this.quick > quickBefore) this.add(user, now)
  }

  /**
   * Counts them as slow from now on.
   * @param now performance.now()
   */
  add(user: string | undefined, now: number): void {
    if (user === undefined) return
    this.#until.delete(user)
    this.#until.set(user, now + KEPT_MS)
  }

  has(user: string | undefined): boolean {
    return user !== undefined && this.#until.has(user)
  }

  /** @param now performance.now() */
  forgetOld(now: number): void {
    for (const [user, until] of this.#until) {
      if (until > now) return
      this.#until.delete(user)
    }
  }
}
