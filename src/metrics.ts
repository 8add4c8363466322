// What operators read, in the text format of Prometheus. Loaded only where METRICS_TOKEN is set. Most of it is kept by
// the parts that it is about, and read when somebody asks.

import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { CODES } from '../schemas/problem.ts'
import type { DatabaseState } from './database/index.ts'

/** What is read when somebody asks. */
export interface Sources {
  database(): DatabaseState
  connections(): Promise<number>
  /** Undefined if no keys are fetched. */
  keyFetches(): { succeeded: number; failed: number } | undefined
  limitRefusals(): Readonly<Record<string, number>>
  /** Where requests are counted. */
  limits(): string
  isolationFailures(): number
}

/** A request that was answered. Each value is one of few, whatever clients send. */
export interface Answered {
  method: string
  /** The pattern of the route; undefined where there is none. */
  route: string | undefined
  status: number
  seconds: number
  /** Of the problem, if it failed. */
  code: string | undefined
  /** Whether a token was accepted. */
  accepted: boolean
}

export interface Metrics {
  countAnswer(answered: Answered): void
  /** A request whose client went away before it was answered. */
  countAbort(method: string, route: string | undefined): void
  text(): Promise<string>
  /** The media type of the text. */
  readonly contentType: string
}

const NO_ROUTE = 'none'
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
// The codes that say why there is no user; the others say that a token was not what failed.
const REFUSED_TOKENS = new Set([
  'missing_token',
  'invalid_token',
  'token_expired',
  'missing_user_id',
  'keys_unavailable',
])

export function createMetrics(sources: Sources): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })

  const durations = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from a request to the end of its answer',
    labelNames: ['method', 'route', 'status'],
    buckets: SECONDS,
    registers,
  })
  const aborted = new Counter({
    name: 'http_requests_aborted_total',
    help: 'Requests whose clients went away before they were answered',
    labelNames: ['method', 'route'],
    registers,
  })
  const problems = new Counter({
    name: 'http_problems_total',
    help: 'Failures, by the code in their body',
    labelNames: ['code'],
    registers,
  })
  const verdicts = new Counter({
    name: 'taskward_token_verdicts_total',
    help: 'Requests to routes that need a token, by what was found: accepted, or the code of the refusal',
    labelNames: ['code'],
    registers,
  })
  // From 0 on, or Prometheus would take the first one for the beginning.
  for (const code of Object.keys(CODES)) problems.inc({ code }, 0)
  for (const code of ['accepted', ...REFUSED_TOKENS]) verdicts.inc({ code }, 0)

  /** One that is read when somebody asks. */
  type Sample = [labels: Record<string, string>, value: number]
  const read = (
    Kind: typeof Counter | typeof Gauge,
    name: string,
    help: string,
    labelNames: string[],
    samples: () => Sample[] | Promise<Sample[]>,
  ) =>
    new Kind({
      name,
      help,
      labelNames,
      registers,
      async collect() {
        const read = await samples()
        this.reset()
        for (const [labels, value] of read) this.inc(labels, value)
      },
    })

  read(Gauge, 'http_connections', 'Open connections of clients', [], async () => [
    [{}, await sources.connections()],
  ])
  read(Gauge, 'taskward_database_connections', 'Open connections to PostgreSQL', ['carrying'], () => {
    const { kinds, idle } = sources.database()
    return [
      ...Object.entries(kinds).map(([carrying, { connections }]): Sample => [{ carrying }, connections]),
      [{ carrying: 'nothing' }, idle],
    ]
  })
  read(Gauge, 'taskward_database_batches', 'Batches of statements', ['kind', 'state'], () =>
    Object.entries(sources.database().kinds).flatMap(([kind, { underWay, waiting }]): Sample[] => [
      [{ kind, state: 'under_way' }, underWay],
      [{ kind, state: 'waiting' }, waiting],
    ]),
  )
  read(
    Counter,
    'taskward_isolation_failures_total',
    'Checks that failed: of the catalog by /ready, or of an answer by its batch',
    ['check'],
    () => [
      [{ check: 'catalog' }, sources.isolationFailures()],
      [{ check: 'answer' }, sources.database().foreignAnswers],
    ],
  )
  read(Counter, 'taskward_jwks_fetches_total', "Fetches of the issuer's keys", ['outcome'], () =>
    Object.entries(sources.keyFetches() ?? {}).map(([outcome, count]) => [{ outcome }, count]),
  )
  read(Counter, 'taskward_limit_refusals_total', 'Requests refused by a limit (429)', ['limit'], () =>
    Object.entries(sources.limitRefusals()).map(([limit, count]) => [{ limit }, count]),
  )
  read(Gauge, 'taskward_limits', 'Where requests are counted: 1 for the place', ['where'], () =>
    ['local', 'shared', 'redis_down'].map((where) => [{ where }, Number(sources.limits() === where)]),
  )

  return {
    countAnswer({ method, route = NO_ROUTE, status, seconds, code, accepted }) {
      durations.observe({ method, route, status }, seconds)
      if (code !== undefined) problems.inc({ code })
      if (accepted) verdicts.inc({ code: 'accepted' })
      else if (code !== undefined && REFUSED_TOKENS.has(code)) verdicts.inc({ code })
    },
    countAbort: (method, route = NO_ROUTE) => aborted.inc({ method, route }),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
