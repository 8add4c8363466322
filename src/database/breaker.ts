// How long after the start of one probe the next one starts.
const EVERY_MS = 1_000
// A probe that takes this much longer says that this process was busy, not that the server is silent.
const BUSY_MS = 100

/**
 * Spares requests the wait for a server that does not answer. It opens once a probe has failed as well, so that one lost
 * connection or one slow statement does not close the door to all; then it probes once a second, and closes when a probe
 * succeeds.
 */
export class Breaker {
  readonly #probe: () => Promise<unknown>
  readonly #onChange: (fault: Error | undefined) => void
  #fault: Error | undefined
  #probing = false
  #isClosed = false // for good
  #next: NodeJS.Timeout | undefined

  /**
   * @param probe asks the server for something that it always can do; must end within about a second
   * @param onChange called when it opens, with the reason, and when it closes, with none
   */
  constructor(probe: () => Promise<unknown>, onChange: (fault: Error | undefined) => void = () => {}) {
    this.#probe = probe
    this.#onChange = onChange
  }

  /** Why it is open; undefined while it is closed. */
  get fault(): Error | undefined {
    return this.#fault
  }

  /** Something was not answered: finds out whether the server still answers at all. */
  suspect(): void {
    if (this.#probing || this.#isClosed) return
    this.#probing = true
    void this.#ask()
  }

  /** Ends the probes. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#next)
  }

  async #ask(): Promise<void> {
    const next = performance.now() + EVERY_MS
    const fault = await this.#probe().then(
      () => undefined,
      (error: Error) => error,
    )
    if (this.#isClosed) return
    if (fault && !this.#fault && performance.now() > next + BUSY_MS) return this.#ask()
    const changes = Boolean(fault) !== Boolean(this.#fault)
    this.#fault = fault
    if (fault) this.#next = setTimeout(() => void this.#ask(), Math.max(next - performance.now(), 0)).unref()
    else this.#probing = false
    if (changes) this.#onChange(fault)
  }
}
