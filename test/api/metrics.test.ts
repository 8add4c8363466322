import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { CODES } from '../../schemas/problem.ts'
import { type BuildOptions, build, identity, mint } from '../helper/app.ts'
import { ROOT } from '../helper/child.ts'
import { database } from '../helper/database.ts'
import { bearer, expectProblem, head, listen, serve } from '../helper/http.ts'
import { METRICS_TOKEN, read, Samples, scrape } from '../helper/metrics.ts'

const DURATIONS = 'http_request_duration_seconds'
const observed = (t: Test, options: BuildOptions = {}) =>
  build(t, { ...options, env: { METRICS_TOKEN, ...options.env } })

t.test('without METRICS_TOKEN there is no such path', async (t) => {
  const app = await build(t)
  expectProblem(t, await scrape(app), 404, 'not_found')
})

t.test('the path takes METRICS_TOKEN and nothing else', async (t) => {
  const lines: string[] = []
  const app = await observed(t, { onLog: (line) => lines.push(line), env: { LOG_LEVEL: 'trace' } })
  const { headers, statusCode, body } = await scrape(app)
  t.equal(statusCode, 200, 'with it, it is 200')
  t.match(headers['content-type'], /^text\/plain; version=0\.0\.4/, 'in the format of Prometheus')
  t.equal(headers['cache-control'], 'no-store', 'and not to be kept')
  t.ok(new Samples(body).list.length > 50, 'each line is in the format')

  const { token } = await identity()
  const wrong = [
    ['missing_token', undefined],
    ['missing_token', 'Basic dXNlcjpwYXNz'],
    ['missing_token', METRICS_TOKEN],
    ['invalid_token', `Bearer ${METRICS_TOKEN} ${METRICS_TOKEN}`],
    ['invalid_token', `Bearer ${METRICS_TOKEN}x`],
    ['invalid_token', `Bearer ${METRICS_TOKEN.slice(0, -1)}`],
    ['invalid_token', `Bearer ${METRICS_TOKEN.toLowerCase()}`],
    ['invalid_token', `Bearer ${token}`],
  ] as const
  for (const [code, authorization] of wrong) {
    const response = await app.inject({ url: '/metrics', headers: authorization ? { authorization } : {} })
    expectProblem(t, response, 401, code)
    const challenge = code === 'missing_token' ? /^Bearer realm="taskward"$/ : /error="invalid_token"/
    t.match(response.headers['www-authenticate'], challenge, 'with a challenge')
    t.match(JSON.parse(lines.at(-1) ?? '').reason, /METRICS_TOKEN\.$/, 'and what to send, in the log')
  }
  expectProblem(t, await app.inject({ url: '/todos', headers: bearer(METRICS_TOKEN) }), 401, 'invalid_token')
  t.notOk(lines.join('').includes(METRICS_TOKEN), 'the log never has it')
})

t.test('it is a path like others', async (t) => {
  const app = await observed(t, { env: { AUTH_RATE_LIMIT_MAX: '1', RATE_LIMIT_MAX: '1' } })
  const headers = bearer(METRICS_TOKEN)
  t.equal((await app.inject({ method: 'HEAD', url: '/metrics', headers })).statusCode, 200, 'HEAD is 200')
  t.equal((await app.inject({ url: '/metrics/', headers })).statusCode, 200, 'with a slash as well')
  const post = await app.inject({ method: 'POST', url: '/metrics', headers })
  expectProblem(t, post, 405, 'method_not_allowed')
  t.equal(post.headers.allow, 'GET, HEAD, OPTIONS', 'other methods are 405')
  for (let i = 0; i < 5; i++) {
    t.equal((await scrape(app)).statusCode, 200, 'in no limit')
    t.equal((await scrape(app, 'wrong')).statusCode, 401, 'nor is who has the wrong token')
  }
  t.notOk(
    (await app.inject('/openapi.json')).body.includes('/metrics'),
    'the document for clients has it not',
  )
})

t.test('what was answered, by route and status', async (t) => {
  const app = await observed(t, { env: { RATE_LIMIT_MAX: '8' } })
  const { id, email, token, headers } = await identity()
  const title = `title-${randomUUID()}`
  const { id: task } = (
    await app.inject({ method: 'POST', url: '/todos', headers, payload: { title } })
  ).json()
  const unknown = 987_654_321
  for (const url of [`/todos/${task}`, `/todos/${unknown}`, `/api/${id}/tasks/${task}?x=1`, '/todos?limit=2'])
    await app.inject({ url, headers })
  await app.inject({ method: 'POST', url: '/todos', headers, payload: { title: '' } })
  for (let i = 0; i < 30; i++) await app.inject({ url: `/nowhere/${randomUUID()}`, headers })
  await app.inject({ method: 'PUT', url: '/todos', headers })
  await app.inject({ url: '/todos', headers: { origin: 'https://app.example.com' } })
  await app.inject('/openapi.json')
  for (let i = 0; i < 4; i++) await app.inject({ url: '/me', headers })

  const samples = await read(app)
  const count = (method: string, route: string, status: number) =>
    samples.sum(`${DURATIONS}_count`, { method, route, status: String(status) })
  t.equal(count('POST', '/todos', 201), 1, 'a task that was made')
  t.equal(count('GET', '/todos/:id', 200), 1, 'a task that was read')
  t.equal(
    samples.sum(`${DURATIONS}_count`, { route: 'none', status: '404' }),
    30,
    'paths without a route are one',
  )
  t.equal(count('PUT', 'none', 405), 1, 'so is a method that a path does not take')
  t.equal(count('GET', '/openapi.json', 200), 1, 'the document')
  t.equal(samples.sum(`${DURATIONS}_bucket`, { route: 'none', le: '+Inf' }), 31, 'buckets end with all')
  t.ok(samples.sum(`${DURATIONS}_sum`) > 0, 'and it took time')

  const codes = Object.fromEntries(
    samples.list
      .filter(({ name, value }) => name === 'http_problems_total' && value > 0)
      .map(({ labels, value }) => [labels.code, value]),
  )
  t.same([...samples.values('http_problems_total', 'code')], Object.keys(CODES), 'each code from the start')
  t.same(
    codes,
    {
      task_not_found: 1,
      validation_failed: 2,
      not_found: 30,
      method_not_allowed: 1,
      missing_token: 1,
      too_many_requests: 2,
    },
    'failures, by code',
  )
  t.equal(samples.sum('taskward_limit_refusals_total', { limit: 'user' }), 2, 'who was over the limit')

  const { body } = await scrape(app)
  const headersOfPrometheus = { ...bearer(METRICS_TOKEN), 'accept-encoding': 'gzip' }
  const zipped = await app.inject({ url: '/metrics', headers: headersOfPrometheus })
  t.ok(
    body.length > 16_000 && zipped.headers['content-encoding'] === 'gzip',
    'it is compressed where that is asked for',
  )
  for (const value of [id, email, token, title, String(unknown), 'x=1', METRICS_TOKEN])
    t.notOk(body.includes(value), `nothing of a user: ${value}`)
  for (const route of samples.values(`${DURATIONS}_count`, 'route'))
    t.match(route, /^(none|(\/:?[a-z._-]+)+)$/, 'patterns of routes alone')
})

t.test('what was found of tokens', async (t) => {
  const app = await observed(t, { env: { AUTH_RATE_LIMIT_MAX: '6' } })
  const good = await identity()
  const tokens = [
    undefined,
    'nonsense',
    await mint({ sub: 'u' }, 'another-4bT9vX2mK7wR1zN8cJ5hL3pF6s'),
    await mint({ sub: 'u', exp: 1 }),
    await mint({}),
    good.token,
    good.token,
    await mint({ sub: 'banned', banned: true }),
  ]
  for (const token of tokens) await app.inject({ url: '/todos', headers: token ? bearer(token) : {} })
  await app.inject('/health')
  await scrape(app, 'wrong')
  const samples = await read(app)
  for (const [code, times] of Object.entries({
    missing_token: 1,
    invalid_token: 3, // one of them for /metrics
    token_expired: 1,
    missing_user_id: 1,
    accepted: 3,
  }))
    t.equal(samples.sum('taskward_token_verdicts_total', { code }), times, code)

  for (let i = 0; i < 3; i++) await app.inject({ url: '/todos', headers: bearer('x') })
  const later = await read(app)
  t.equal(later.sum('taskward_limit_refusals_total', { limit: 'refused_token' }), 2, 'too many of an address')
})

t.test("fetches of the issuer's keys", async (t) => {
  const issuer = createServer((_request, response) => response.writeHead(500).end())
  const port = await listen(t, issuer)
  const app = await observed(t, { env: { BETTER_AUTH_URL: `http://127.0.0.1:${port}` } })
  t.equal((await read(app)).sum('taskward_jwks_fetches_total'), 0, 'none')
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const token = `${part({ alg: 'EdDSA', kid: 'a' })}.${part({ sub: 'u', exp: 4e9 })}.${part({})}`
  expectProblem(t, await app.inject({ url: '/todos', headers: bearer(token) }), 503, 'keys_unavailable')
  const samples = await read(app)
  t.equal(samples.sum('taskward_jwks_fetches_total', { outcome: 'failed' }), 1, 'one that failed')
  t.equal(samples.sum('taskward_jwks_fetches_total', { outcome: 'succeeded' }), 0, 'none that brought keys')
  t.equal(samples.sum('taskward_token_verdicts_total', { code: 'keys_unavailable' }), 1, 'what came of it')
})

t.test('what the database is doing', async (t) => {
  const db = await database()
  const held = Promise.withResolvers<void>()
  const app = await observed(t)
  const { headers } = await identity()
  await app.inject({ url: '/todos', headers })
  const batches = (samples: Samples) => samples.sum('taskward_database_batches')
  const quiet = await read(app)
  t.equal(batches(quiet), 0, 'no batch')
  t.same(
    quiet.values('taskward_database_batches', 'state'),
    new Set(['under_way', 'waiting']),
    'of two states',
  )
  t.ok(quiet.sum('taskward_database_connections', { carrying: 'nothing' }) >= 1, 'an idle connection')

  // The login's own statements block the requests' ones: the table is locked, or the only connection is taken.
  const blocked = db.asLogin(async (login) => {
    await login.transaction().execute(async (transaction) => {
      const { sql } = await import('kysely')
      await sql`lock table tasks`.execute(transaction)
      await held.promise
    })
  })
  await sleep(200)
  const answers = Promise.all([1, 2, 3].map(() => app.inject({ url: '/todos', headers })))
  await sleep(200)
  const busy = await read(app)
  t.equal(batches(busy), 3, 'those of three requests')
  t.ok(busy.sum('taskward_database_connections', { carrying: 'reads' }) >= 1, 'on connections')
  held.resolve()
  await blocked
  t.ok(
    (await answers).every(({ statusCode }) => statusCode === 200),
    'which are answered later',
  )
  t.equal(batches(await read(app)), 0, 'and then no batch')
})

t.test('checks of isolation that failed', async (t) => {
  const db = await database()
  let foreignAnswers = 0
  const app = await observed(t, {
    database: {
      ...db,
      state: () => ({ ...db.state(), foreignAnswers }),
      check: () =>
        Promise.reject(Object.assign(new Error('x'), { statusCode: 503, code: 'isolation_broken' })),
    },
  })
  const failures = async (check: string) =>
    (await read(app)).sum('taskward_isolation_failures_total', { check })
  t.same([await failures('catalog'), await failures('answer')], [0, 0], 'none')
  await app.inject('/ready')
  foreignAnswers += 1
  t.same([await failures('catalog'), await failures('answer')], [1, 1], 'one of each')
})

async function* endless() {
  for (;;) {
    yield 'x'.repeat(1000)
    await sleep(10)
  }
}

t.test('connections, and clients that go away', async (t) => {
  let asked = 0
  const onRequest = async () => void (asked += 1)
  const app = await observed(t, {
    routes: (app) => {
      app.get('/slow', { onRequest, schema: { hide: true } }, async () => sleep(1000).then(() => 'late'))
      app.get('/endless', { onRequest, schema: { hide: true } }, async () => Readable.from(endless()))
    },
  })
  const { port } = await serve(app)
  const sockets = ['/slow', '/slow', '/endless'].map((path) =>
    connect(port, '127.0.0.1', function (this: Socket) {
      this.resume().write(head(`GET ${path} HTTP/1.1`))
    }),
  )
  while (asked < sockets.length) await sleep(20)
  t.equal((await read(app)).sum('http_connections'), 3, 'three are open')
  for (const socket of sockets) socket.destroy()
  await sleep(1000)
  const samples = await read(app)
  t.equal(samples.sum('http_connections'), 0, 'none is')
  for (const [route, times] of [
    ['/slow', 2],
    ['/endless', 1],
  ] as const) {
    t.equal(samples.sum('http_requests_aborted_total', { route }), times, `${route} got no whole answer`)
    t.equal(samples.sum(`${DURATIONS}_count`, { route }), 0, 'and counts as nothing else')
  }
})

t.test('the process itself', async (t) => {
  const { names } = await read(await observed(t))
  for (const name of [
    'nodejs_eventloop_lag_p99_seconds',
    'process_resident_memory_bytes',
    'process_cpu_seconds_total',
  ])
    t.ok(names.has(name), name)
})

t.test('the dashboard asks for metrics and labels that exist', async (t) => {
  const app = await observed(t, { env: { BETTER_AUTH_URL: 'http://127.0.0.1:1' } })
  const { headers } = await identity()
  await app.inject({ url: '/todos', headers })
  await app.inject({ url: '/todos' })
  const { body } = await scrape(app)
  const names = new Set<string>()
  const labels = new Map([...new Samples(body).list].map(({ name, labels }) => [name, Object.keys(labels)]))
  for (const [, name = '', type] of body.matchAll(/^# TYPE (\S+) (\w+)$/gm))
    for (const suffix of type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']) names.add(name + suffix)

  const dashboard = JSON.parse(readFileSync(join(ROOT, 'examples/grafana/dashboard.json'), 'utf8'))
  const expressions: string[] = dashboard.panels.flatMap(({ targets = [] }) =>
    (targets as { expr: string }[]).map(({ expr }) => expr),
  )
  t.ok(expressions.length > 15, `${expressions.length} expressions`)
  const asked = new Set<string>()
  for (const expression of expressions) {
    const [, name = '', matchers = ''] = /(\w+)\{(.*?)\}/.exec(expression) ?? []
    asked.add(name)
    t.ok(names.has(name), `${name} exists`)
    const [, by = ''] = /by \((.*?)\)/.exec(expression) ?? []
    const used = [
      ...by.split(', ').filter(Boolean),
      ...[...matchers.matchAll(/(\w+)=/g)].map(([, label]) => label),
    ]
    for (const label of used)
      t.ok(
        ['job', 'instance', ...(labels.get(name) ?? [])].includes(label as string),
        `${name} has the label ${label}`,
      )
  }
  const ours = [...names].filter((name) => /^(http|taskward)_/.test(name) && !name.endsWith('_seconds_sum'))
  t.same(
    ours.filter((name) => !asked.has(name)),
    [],
    'and shows each of ours',
  )
})

t.test('docs/operate.md lists every metric of ours, with its labels', async (t) => {
  const app = await observed(t, { env: { BETTER_AUTH_URL: 'http://127.0.0.1:1' } })
  const { body } = await scrape(app)
  const ours = [...body.matchAll(/^# TYPE ((?:http|taskward)_\S+)/gm)].map(([, name]) => name)
  const [, section = ''] = readFileSync(join(ROOT, 'docs/operate.md'), 'utf8').split('\n## Metrics\n')
  const [table = ''] = section.split('\n## ')
  const listed = [...table.matchAll(/^\| `((?:http|taskward)_\w+)`/gm)].map(([, name]) => name)
  t.same(listed.toSorted(), ours.toSorted(), 'the same names')
})
