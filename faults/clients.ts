import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const PATIENCE_MS = 40_000

export interface Call {
  method?: string
  path: string
  token?: string
  body?: object
  headers?: Record<string, string>
  agent?: Agent
}

export interface Answer {
  /** 0 if there was none. */
  status: number
  body: string
  headers: Record<string, unknown>
  /** Milliseconds until the answer was complete. */
  ms: number
  /** Whether the connection was refused: nothing was sent. */
  refused: boolean
  /** Whether the connection had carried requests before. */
  kept: boolean
}

/** Sends one request. Never throws: without a whole answer the status is 0. */
export function call(
  url: string,
  { method = 'GET', path, token, body, headers, agent }: Call,
): Promise<Answer> {
  const start = performance.now()
  return new Promise((resolve) => {
    const sent = request(url + path, {
      method,
      agent,
      headers: {
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body && { 'content-type': 'application/json' }),
        ...headers,
      },
    })
    const end = (answer: Partial<Answer>) => {
      clearTimeout(timer)
      const ms = performance.now() - start
      resolve({ status: 0, body: '', headers: {}, refused: false, kept: sent.reusedSocket, ms, ...answer })
    }
    const timer = setTimeout(() => sent.destroy(new Error('no answer')), PATIENCE_MS)
    sent.on('error', (error: NodeJS.ErrnoException) => end({ refused: error.code === 'ECONNREFUSED' }))
    sent.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.on('error', () => end({}))
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response
        end(response.complete ? { status, headers, body: Buffer.concat(chunks).toString() } : {})
      })
    })
    sent.end(body && JSON.stringify(body))
  })
}

export const keepAlive = () => new Agent({ keepAlive: true, maxSockets: Infinity })

/** Sends a request again, as clients should, for as long as the answer is 503, at most a minute. */
export async function persist(url: string, request: Call): Promise<Answer & { repeats: number }> {
  const end = performance.now() + 60_000
  for (let repeats = 0; ; repeats++) {
    const answer = await call(url, request)
    if (answer.status !== 503 || performance.now() > end) return { ...answer, repeats }
    await sleep(100)
  }
}

export interface WritersOptions {
  /** Milliseconds at most between an answer and the next request. */
  pause?: number
  /** Whether each request has a key, and is repeated until it is answered with 201. */
  retried?: boolean
  /** Whether each request has a connection of its own. */
  fresh?: boolean
}

/** Clients that create tasks one after the other, and remember what they were told of each. */
export class Writers {
  readonly acknowledged = new Set<string>()
  /** Titles of those that were said not to be done, or to be worth another try. */
  readonly #denied = new Set<string>()
  /** How many were answered with 503 `outcome_unknown`, without Retry-After. */
  unknown = 0
  /** Retries that were answered with what the request before them had done. */
  replayed = 0
  readonly #statuses: number[] = []
  /** Requests that were sent on a connection that was kept, or on a new one, and got no answer. */
  readonly dropped = { kept: 0, fresh: 0 }
  longest = 0
  /** Milliseconds for which nothing was acknowledged, at most. */
  longestGap = 0
  #last = performance.now()
  sent = 0
  #stopped = false
  readonly #options: WritersOptions
  readonly #agent: Agent
  readonly #done: Promise<unknown>

  constructor(url: string, tokens: readonly string[], count: number, options: WritersOptions = {}) {
    this.#options = options
    this.#agent = options.fresh ? new Agent({ keepAlive: false }) : keepAlive()
    this.#done = Promise.all(
      Array.from({ length: count }, (_, i) => this.#write(url, tokens[i % tokens.length] as string)),
    )
  }

  async #write(url: string, token: string): Promise<void> {
    const { pause = 0, retried } = this.#options
    let title = randomUUID()
    let again = false
    while (!this.#stopped || again) {
      const { status, ms, refused, kept, body, headers } = await call(url, {
        method: 'POST',
        path: '/todos',
        token,
        body: { title },
        headers: retried ? { 'idempotency-key': title } : undefined,
        agent: this.#agent,
      })
      if (refused) {
        await sleep(50)
        continue
      }
      const isDone = status === 201
      again = retried === true && !isDone
      this.sent += 1
      this.#statuses.push(status)
      this.longest = Math.max(this.longest, ms)
      if ('idempotency-replayed' in headers) this.replayed += 1
      if (isDone) {
        this.acknowledged.add(title)
        this.longestGap = Math.max(this.longestGap, performance.now() - this.#last)
        this.#last = performance.now()
      }
      if (status === 0) this.dropped[kept ? 'kept' : 'fresh'] += 1
      else if (body.includes('"outcome_unknown"') && !('retry-after' in headers)) this.unknown += 1
      else if (!isDone) this.#denied.add(title)
      if (!again) title = randomUUID()
      if (pause > 0) await sleep(Math.random() * pause)
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#done
    this.#agent.destroy()
  }

  /**
   * Compares what was told with the titles that are there: `denied` are those of them that were said not to be done. With
   * retries there are none.
   */
  compare(titles: readonly string[]): { lost: number; doubled: number; denied: number } {
    const there = new Set(titles)
    const denied = this.#denied.difference(this.acknowledged)
    return {
      lost: this.acknowledged.difference(there).size,
      doubled: titles.length - there.size,
      denied: denied.intersection(there).size,
    }
  }

  /** `201 × 5, 503 × 2`. */
  get answers(): string {
    return `${kindsOf(this.#statuses)}${this.unknown > 0 ? ` (${thousands(this.unknown)} × \`outcome_unknown\`)` : ''}`
  }

  has(...expected: number[]): boolean {
    return this.#statuses.every((status) => expected.includes(status))
  }
}

export const thousands = (count: number): string => count.toLocaleString('en')

/** How many there are of each status; 0 is none at all. */
function kindsOf(statuses: readonly number[]): string {
  const counts = new Map<number, number>()
  for (const status of statuses.toSorted((a, b) => a - b)) counts.set(status, (counts.get(status) ?? 0) + 1)
  return [...counts].map(([status, count]) => `${status || 'cut'} × ${thousands(count)}`).join(', ')
}

export interface Times {
  p50: number
  p99: number
  max: number
  /** Requests with an answer other than 2xx, and all. */
  failed: number
  count: number
  /** `200 × 5, 503 × 2`. */
  kinds: string
}

/**
 * The requests of somebody else, at a steady rate whatever the answers do.
 * @param perSecond how many are sent a second
 */
export async function watch(
  url: string,
  calls: readonly Call[],
  { seconds, perSecond = 100 }: { seconds: number; perSecond?: number },
): Promise<Times> {
  const agent = keepAlive()
  const answers: Promise<Answer>[] = []
  const start = performance.now()
  for (let i = 0; i < seconds * perSecond; i++) {
    const wait = start + (i * 1000) / perSecond - performance.now()
    if (wait > 1) await sleep(wait)
    answers.push(call(url, { ...(calls[i % calls.length] as Call), agent }))
  }
  const all = await Promise.all(answers)
  agent.destroy()
  return timesOf(all)
}

export function timesOf(answers: readonly Answer[]): Times {
  const ms = answers.map((answer) => answer.ms).toSorted((a, b) => a - b)
  const at = (share: number) => Math.round(ms[Math.min(ms.length - 1, Math.floor(ms.length * share))] ?? 0)
  return {
    p50: at(0.5),
    p99: at(0.99),
    max: at(1),
    failed: answers.filter(({ status }) => status < 200 || status > 299).length,
    count: ms.length,
    kinds: kindsOf(answers.map(({ status }) => status)),
  }
}
