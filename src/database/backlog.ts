import type { Batch } from './kinds.ts'

// How many batches of one kind may wait for a connection. Whoever comes when more do would wait in vain, and fill the
// memory meanwhile.

/** However fast they are served. */
export const MOST = 2_000
/** With fewer than these waiting, how fast they are served says nothing. */
const MANY = 100
/** However slowly they are served. */
const LEAST = 2 * MANY
const MEASURED_MS = 1_000
/** What one user has beyond these waits for their others, and keeps nobody else waiting. */
const OF_USER = 8

/** As many as were lately served in the time that they may wait; MOST until many have waited for a whole second. */
export class Backlog {
  #most = MOST
  #waiting = 0
  #served = 0
  #since = 0

  /** A batch has ended, whether well or not. */
  served(): void {
    this.#served += 1
  }

  /** Whether another one would wait in vain. */
  get isFull(): boolean {
    return this.#waiting >= this.#most
  }

  /**
   * To be called several times a second.
   * @param batches those that wait
   * @param now performance.now()
   * @param patience milliseconds that a batch may wait
   */
  measure(batches: Iterable<Pick<Batch, 'user'>>, now: number, patience: number): void {
    this.#waiting = countFairly(batches)
    const passed = now - this.#since
    const isKnown = this.#waiting >= MANY
    if (isKnown && passed < MEASURED_MS) return
    // One that serves none at all stands still, which says nothing of how fast it goes on.
    if (!isKnown) this.#most = MOST
    else if (this.#served > 0) {
      this.#most = Math.min(MOST, Math.max(LEAST, (this.#served * patience) / passed))
    }
    this.#served = 0
    this.#since = now
  }
}

/** How many there are, with no more than a few of each user. */
function countFairly(batches: Iterable<Pick<Batch, 'user'>>): number {
  const counts = new Map<string | undefined, number>()
  let sum = 0
  for (const { user } of batches) {
    const count = counts.get(user) ?? 0
    counts.set(user, count + 1)
    if (count < OF_USER || user === undefined) sum += 1
  }
  return sum
}
