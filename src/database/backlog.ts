// How many batches of one kind may wait for a connection. Whoever comes when more do would wait in vain, and fill the
// memory meanwhile.

/** However fast they are served. */
export const MOST = 2_000
/** With fewer than these waiting, how fast they are served says nothing. */
const MANY = 100
/** However slowly they are served. */
const LEAST = 2 * MANY
const MEASURED_MS = 1_000

/** As many as were lately served in the time that they may wait; MOST until many have waited for a whole second. */
export class Backlog {
  #most = MOST
  #served = 0
  #since = 0

  /** A batch has ended, whether well or not. */
  served(): void {
    this.#served += 1
  }

  isFull(waiting: number): boolean {
    return waiting >= this.#most
  }

  /**
   * To be called several times a second.
   * @param now performance.now()
   * @param patience milliseconds that a batch may wait
   */
  measure(waiting: number, now: number, patience: number): void {
    const passed = now - this.#since
    const isKnown = waiting >= MANY
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
