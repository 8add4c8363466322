import { randomInt } from 'node:crypto'
import { createHistogram } from 'node:perf_hooks'
import autocannon, { type Client, type Request } from 'autocannon'

export const CONNECTIONS = 64
const REQUESTS = 1280
// While connections open and their requests are built, answers wait to be read: that delay is the generator's.
const SETTLED_MS = 500

export type Scenario = 'list' | 'chosen' | 'get' | 'create' | 'mix'
export type Make = (caller: Caller) => Request

/** A user with a token and tasks. */
export interface Caller {
  token: string
  /** Ids of their tasks. */
  tasks: number[]
}

export interface Load {
  /** Answers per second. */
  rate: number
  /** Milliseconds within which half were answered, after all connections were open. */
  p50: number
  /** Milliseconds within which 99 % were answered, after all connections were open. */
  p99: number
}

/** A GET of this path. */
export const at =
  (path: string): Make =>
  ({ token }) => ({ method: 'GET', path, headers: bearer(token) })

export const scenarios: Record<Scenario, Make> = {
  list: at('/todos?limit=20'),
  chosen: at('/todos?limit=20&status=pending&search=something&sort=title'),
  get: ({ token, tasks }) => ({ method: 'GET', path: `/todos/${pick(tasks)}`, headers: bearer(token) }),
  create: ({ token }) => ({
    method: 'POST',
    path: '/todos',
    headers: { ...bearer(token), 'content-type': 'application/json' },
    body: JSON.stringify({ title: 'Buy milk', description: 'Two litres' }),
  }),
  mix(caller) {
    const dice = Math.random()
    if (dice < 0.7) return scenarios.list(caller)
    if (dice < 0.9) return scenarios.get(caller)
    if (dice < 0.95) return scenarios.create(caller)
    return {
      method: 'PATCH',
      path: `/todos/${pick(caller.tasks)}/toggle`,
      headers: { ...bearer(caller.token), 'content-type': 'application/json' },
      body: '{}',
    }
  },
}

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const pick = <T>(list: readonly T[]): T => list[randomInt(list.length)] as T

/**
 * Loads a server for some seconds with the requests of random users.
 * @throws Error if a single answer is not 2xx
 */
export async function load(
  url: string,
  make: Make,
  callers: readonly Caller[],
  { seconds, connections = CONNECTIONS }: { seconds: number; connections?: number },
): Promise<Load> {
  const latencies = createHistogram()
  const settled = performance.now() + SETTLED_MS
  const result = await autocannon({
    url,
    connections,
    duration: seconds,
    // Each connection cycles through its own requests, built beforehand: nothing is built while measuring.
    setupClient(client: Client) {
      client.setRequests(Array.from({ length: Math.ceil(REQUESTS / connections) }, () => make(pick(callers))))
      client.on('response', (_status, _bytes, ms) => {
        if (performance.now() > settled) latencies.record(Math.ceil(ms * 1000))
      })
    },
  })
  const wrong = result.non2xx + result.errors + result.timeouts
  if (wrong > 0) throw new Error(`${wrong} of ${result.requests.total} answers of ${url} were not 2xx`)
  const within = (percent: number) => latencies.percentile(percent) / 1000
  return { rate: result['2xx'] / result.duration, p50: within(50), p99: within(99) }
}
