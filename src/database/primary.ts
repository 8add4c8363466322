import { setTimeout as sleep } from 'node:timers/promises'
import { NoHostError } from './faults.ts'

// How long a host may be silent before the next one is asked as well.
const HEAD_START_MS = 250
// While no host will do, how long one search answers all who ask.
const PAUSE_MS = 100

/**
 * Knows which of several hosts to connect to. They are asked in their order; one that does not answer holds up nobody for
 * long. With one host it is always that one.
 */
export class Primary {
  readonly #urls: readonly string[]
  readonly #ask: (url: string) => Promise<unknown>
  readonly #onMove: (url: string) => void
  /** The host that was found last. */
  #last: string | undefined
  #isSure: boolean
  #search: Promise<string> | undefined

  /**
   * @param ask rejects if the host does not answer, or is not as wanted
   * @param onMove called when another host than before is found
   */
  constructor(
    urls: readonly string[],
    ask: (url: string) => Promise<unknown>,
    onMove: (url: string) => void = () => {},
  ) {
    this.#urls = urls
    this.#ask = ask
    this.#onMove = onMove
    this.#isSure = urls.length === 1
    if (this.#isSure) this.#last = urls[0]
  }

  /** Whether there is a choice. */
  get isOneOfSeveral(): boolean {
    return this.#urls.length > 1
  }

  /** @throws NoHostError if no host will do */
  async find(): Promise<string> {
    if (this.#isSure && this.#last !== undefined) return this.#last
    this.#search ??= this.#findAnew()
    return this.#search
  }

  /** Something speaks against a host: if it is the one that was found, it is looked for anew. */
  doubt(url: string): void {
    if (url === this.#last && this.isOneOfSeveral) this.#isSure = false
  }

  async #findAnew(): Promise<string> {
    try {
      const url = await this.#firstOf()
      const moves = this.#last !== undefined && this.#last !== url
      this.#last = url
      this.#isSure = true
      this.#search = undefined
      if (moves) this.#onMove(url)
      return url
    } catch (error) {
      setTimeout(() => (this.#search = undefined), PAUSE_MS).unref()
      throw error
    }
  }

  /** The first that will do. A host is asked once the one before it has refused, or been silent for a while. */
  #firstOf(): Promise<string> {
    let isFound = false
    let turn: Promise<unknown> = Promise.resolve()
    const asked = this.#urls.map((url) => {
      const mine = turn
      const asking = mine.then(async () => {
        if (!isFound) await this.#ask(url)
        isFound = true
        return url
      })
      const refused = asking.catch(() => {})
      turn = mine.then(() => Promise.race([refused, sleep(HEAD_START_MS, undefined, { ref: false })]))
      return asking
    })
    return Promise.any(asked).catch(({ errors }: AggregateError) => {
      throw new NoHostError(this.#urls, errors)
    })
  }
}
