import { availableParallelism } from 'node:os'
import bcrypt from 'bcrypt'
import pLimit from 'p-limit'
import { unavailable, validationFailed } from './problem.ts'

const MAX_BYTES = 72
// bcrypt keeps a core busy for a quarter of a second: leave some cores, and some memory, for everything else.
const AT_ONCE = Math.max(1, Math.floor(availableParallelism() / 2))
const WAITING = 32

const invalid = (msg: string, type: string) => validationFailed([{ loc: ['body', 'password'], msg, type }])

/** Hashes passwords off the event loop, a few at a time; whoever would wait too long gets 503. */
export class Passwords {
  readonly #cost: number
  readonly #limit = pLimit(AT_ONCE)
  /** Compared with if the account does not exist, so that the answer takes the same time. */
  readonly #nobody: Promise<string>

  /** @param cost bcrypt's cost, 4–15: each step doubles the time */
  constructor(cost: number) {
    this.#cost = cost
    this.#nobody = bcrypt.hash('no password has this hash', cost)
  }

  /** @throws HttpProblem 422 if it is longer than bcrypt reads, or too common */
  async hash(password: string): Promise<string> {
    if (Buffer.byteLength(password) > MAX_BYTES)
      throw invalid(`must have at most ${MAX_BYTES} bytes`, 'maxLength')
    if ((await commonPasswords()).has(password.toLowerCase()))
      throw invalid('is one of the most common passwords', 'common')
    return this.#run(() => bcrypt.hash(password, this.#cost))
  }

  /** Whether the password matches the hash; without a hash, false, after the same time. */
  async matches(password: string, hash: string | undefined): Promise<boolean> {
    const compared = hash ?? (await this.#nobody)
    // A longer one is not compared: bcrypt would read only its first 72 bytes.
    const fits = Buffer.byteLength(password) <= MAX_BYTES
    const same = await this.#run(() => bcrypt.compare(password, compared))
    return same && fits && hash !== undefined
  }

  #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#limit.pendingCount >= WAITING) {
      throw unavailable('busy', 'Too many people are signing in right now. Try again shortly.', undefined, 2)
    }
    return this.#limit(work)
  }
}

let common: Promise<Set<string>> | undefined

// Loaded at the first sign-up, because it takes tens of milliseconds and some megabytes.
function commonPasswords(): Promise<Set<string>> {
  common ??= import('@zxcvbn-ts/language-common').then(
    ({ dictionary }) => new Set(dictionary['passwords-common'].map(String)),
  )
  return common
}
