import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { identity, mint, SECRET } from '../helper/app.ts'
import { NOWHERE, PASSWORD, PRODUCTION, ROOT, run, SERVER, start } from '../helper/child.ts'
import { embeddedUrl, migratedUrl } from '../helper/database.ts'
import { bearer, exchange, freePort, head } from '../helper/http.ts'
import { METRICS_TOKEN } from '../helper/metrics.ts'
import { startCollector } from '../helper/otlp.ts'
import { tasksOver } from '../helper/tasks.ts'

const IMPORTS = join(ROOT, 'test/helper/imports.ts')
const FAST = { OTEL_BSP_SCHEDULE_DELAY: '100' }
const json = { 'content-type': 'application/json' }

async function startTraced(t: Test, more: Record<string, string> = {}) {
  const collector = await startCollector(t)
  const env = {
    ...FAST,
    DATABASE_URL: await migratedUrl(),
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    ...more,
  }
  const server = await start(t, env)
  const lines = () =>
    server.stdout
      .split('\n')
      .filter(Boolean)
      .map((line): Record<string, unknown> => JSON.parse(line))
  return { collector, server, lines }
}

t.test('a span for each request, and one for each batch in it', async (t) => {
  const { collector, server, lines } = await startTraced(t)
  const { id, email, token, headers } = await identity()
  const title = `title-${randomUUID()}`
  const traceId = randomUUID().replaceAll('-', '')
  const parentId = traceId.slice(0, 16)
  const response = await fetch(`${server.url}/api/${id}/tasks?_=secret-query`, {
    method: 'POST',
    headers: { ...headers, ...json, traceparent: `00-${traceId}-${parentId}-01` },
    body: JSON.stringify({ title }),
  })
  t.equal(response.status, 201, 'a task was made')

  const request = await collector.received('POST /api/:user_id/tasks')
  t.match(
    request,
    { traceId, parentId, kind: 2, status: 0 },
    "it goes on with the caller's trace, whatever is in the request",
  )
  t.same(
    request.attributes,
    { 'http.request.method': 'POST', 'http.route': '/api/:user_id/tasks', 'http.response.status_code': 201 },
    'route and status, and nothing else',
  )
  t.match(request.resource, { 'service.name': 'taskward', 'service.version': /^\d/ }, 'of this service')
  const batch = await collector.received('insert tasks')
  t.match(batch, { traceId, parentId: request.spanId, kind: 3, status: 0 }, 'the batch is a part of it')
  t.match(
    batch.attributes,
    { 'db.system.name': 'postgresql', 'db.operation.batch.size': 1, 'taskward.statements': [/^[\w-]{16}$/] },
    'the names of its statements',
  )
  t.same([...collector.paths], ['/v1/traces'], 'nothing but traces is sent')

  const line = lines().find(({ msg, status }) => msg === 'request' && status === 201)
  t.match(line, { trace_id: traceId, span_id: request.spanId }, 'the line of the request has its trace')
  t.notOk(
    lines().some(({ msg, trace_id }) => msg !== 'request' && trace_id),
    'others have none',
  )
  const sent = Buffer.concat(collector.bodies)
  for (const value of [id, email, token, title, 'secret-query', SECRET])
    t.notOk(sent.includes(value), `nothing of a user: ${value}`)
})

t.test('spans of requests that fail', async (t) => {
  const { collector, server, lines } = await startTraced(t, { BETTER_AUTH_URL: 'http://127.0.0.1:1' })
  const wrong = bearer(await mint({ sub: 'u' }, 'another-4bT9vX2mK7wR1zN8cJ5hL3pF6s'))
  await fetch(`${server.url}/todos`, { headers: wrong })
  const refused = await collector.received('GET /todos')
  t.match(
    refused.attributes,
    { 'http.response.status_code': 401, 'taskward.code': 'invalid_token' },
    'a refusal',
  )
  t.match(refused, { status: 0, message: '', events: 0 }, 'is no error of the service')
  t.equal(refused.parentId, '', 'without a caller it begins a trace')

  await fetch(`${server.url}/nowhere/${randomUUID()}`)
  const nowhere = await collector.received('GET')
  t.match(nowhere.attributes, { 'http.response.status_code': 404, 'taskward.code': 'not_found' }, 'no route')

  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const unverifiable = `${part({ alg: 'EdDSA', kid: 'a' })}.${part({ sub: 'u', exp: 4e9 })}.${part({})}`
  await fetch(`${server.url}/me`, { headers: bearer(unverifiable) })
  const fault = await collector.received('GET /me')
  t.match(fault.attributes, { 'http.response.status_code': 503, 'error.type': 'keys_unavailable' }, 'a fault')
  t.match(fault, { status: 2, message: '', events: 0 }, 'is an error, without the text of one')
  t.match(
    lines().find(({ msg }) => msg === 'request failed'),
    { trace_id: fault.traceId, span_id: fault.spanId },
    'and the line that says why has its trace',
  )
  for (const { status, trace_id } of lines().filter(({ msg }) => msg === 'request'))
    t.match(trace_id, /^[\da-f]{32}$/, `the line of a ${status} has its trace`)
})

t.test('spans of batches that fail', async (t) => {
  const { collector, server } = await startTraced(t, { ...PRODUCTION, DATABASE_URL: NOWHERE })
  const { status } = await fetch(`${server.url}/todos`, { headers: (await identity()).headers })
  t.equal(status, 503, 'there is no database')
  const batch = await collector.received('select tasks')
  t.match(
    batch,
    { status: 2, message: '', events: 0, attributes: { 'error.type': 'ECONNREFUSED' } },
    'an error',
  )
  t.notOk(Buffer.concat(collector.bodies).includes(PASSWORD), 'without the address of the database')
})

t.test('requests at once are not mixed up', async (t) => {
  const { collector, server } = await startTraced(t)
  const users = await Promise.all(Array.from({ length: 20 }, () => identity()))
  const ids = users.map(() => randomUUID().replaceAll('-', ''))
  await Promise.all(
    users.map(async ({ headers }, i) => {
      const trace = { traceparent: `00-${ids[i]}-${ids[i]?.slice(0, 16)}-01` }
      const { add } = tasksOver({ ...headers, ...trace } as typeof headers)
      return add(server.url, `task ${i}`)
    }),
  )
  const { code } = await server.stop()
  t.equal(code, 0, 'exit code 0')
  for (const id of ids) {
    const spans = collector.spans.filter(({ traceId }) => traceId === id)
    t.same(
      spans.map(({ name }) => name).toSorted(),
      ['POST /todos', 'insert tasks'],
      'one request, one batch',
    )
    const request = spans.find(({ kind }) => kind === 2)
    t.equal(spans.find(({ kind }) => kind === 3)?.parentId, request?.spanId, 'of each other')
  }
})

t.test('a body that arrives late, on a connection that others have used', async (t) => {
  const { collector, server } = await startTraced(t)
  const { headers } = await identity()
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const ids = [1, 2, 3].map(() => randomUUID().replaceAll('-', ''))
  for (const id of ids) {
    const request = httpRequest(`${server.url}/todos`, {
      agent,
      method: 'POST',
      headers: { ...headers, ...json, traceparent: `00-${id}-${id.slice(0, 16)}-01` },
    })
    request.flushHeaders()
    await sleep(100)
    request.write('{"title":')
    await sleep(100)
    request.end('"late"}')
    const [response] = await once(request, 'response')
    t.equal(response.statusCode, 201, 'a task was made')
    await text(response)
  }
  await server.stop()
  for (const id of ids) {
    const spans = collector.spans.filter(({ traceId }) => traceId === id)
    t.same(
      spans.map(({ name }) => name).toSorted(),
      ['POST /todos', 'insert tasks'],
      'its batch belongs to it',
    )
  }
})

t.test('requests that wait for each other on one connection', async (t) => {
  const { collector, server } = await startTraced(t)
  const { headers } = await identity()
  const ids = Array.from({ length: 5 }, () => randomUUID().replaceAll('-', ''))
  const requests = ids.map((id, i) =>
    head(
      'GET /todos HTTP/1.1',
      `Authorization: ${headers.authorization}`,
      `Traceparent: 00-${id}-${id.slice(0, 16)}-01`,
      `Connection: ${i === 4 ? 'close' : 'keep-alive'}`,
    ),
  )
  t.equal((await exchange(Number(new URL(server.url).port), requests.join(''))).statusCode, 200, 'answered')
  await server.stop()
  for (const id of ids) {
    const spans = collector.spans.filter(({ traceId }) => traceId === id)
    t.same(
      spans.map(({ name }) => name).toSorted(),
      ['GET /todos', 'select tasks'],
      'its batch belongs to it',
    )
  }
})

t.test('the other variables of OpenTelemetry apply', async (t) => {
  const { collector, server } = await startTraced(t, {
    OTEL_SERVICE_NAME: 'todo-api',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=staging',
    OTEL_EXPORTER_OTLP_HEADERS: 'x-api-key=k-e-y',
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0',
  })
  for (let i = 0; i < 5; i++) await fetch(`${server.url}/health`)
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  await fetch(`${server.url}/me`, { headers: { traceparent } })
  const { resource } = await collector.received('GET /me')
  t.match(resource, { 'service.name': 'todo-api', 'deployment.environment.name': 'staging' }, 'the resource')
  t.equal(collector.headers[0]?.['x-api-key'], 'k-e-y', 'the headers')
  t.equal(collector.spans.length, 1, 'the sampler')
})

t.test('a collector that is down, or never answers', async (t) => {
  for (const status of [null, 503, 0]) {
    const { collector, server, lines } = await startTraced(t, {
      ...PRODUCTION,
      DATABASE_URL: await embeddedUrl(),
      OTEL_EXPORTER_OTLP_TIMEOUT: status === 0 ? '60000' : '300',
      ...(status === null && { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${await freePort(t)}` }),
    })
    collector.status = status ?? 200
    for (let i = 0; i < 10; i++) {
      t.equal((await fetch(`${server.url}/health`)).status, 200, 'requests are answered')
      await sleep(100)
    }
    if (status !== 0) await server.printed(/traces cannot be sent/)
    const started = performance.now()
    const { code, stderr } = await server.stop()
    const seconds = (performance.now() - started) / 1000
    t.same([code, stderr], [0, ''], `${status}: it exits`)
    t.ok(seconds < 6, `${status}: within ${seconds.toFixed(1)} seconds`)
    const said = lines().filter(({ msg }) => /traces/.test(String(msg)))
    t.equal(said.length, status === 0 ? 0 : 1, `${status}: one line at most, however often it fails`)
  }
})

t.test('a collector that comes back', async (t) => {
  const { collector, server } = await startTraced(t, { OTEL_EXPORTER_OTLP_TIMEOUT: '300' })
  collector.status = 400
  await fetch(`${server.url}/health`)
  await server.printed(/traces cannot be sent/)
  collector.status = 200
  await fetch(`${server.url}/me`)
  await server.printed(/traces can be sent again/)
  await collector.received('GET /me')
})

t.test('nothing is loaded that nobody asked for', async (t) => {
  const DATABASE_URL = await embeddedUrl()
  const loaded = async (more: Record<string, string>) => {
    const env = { BETTER_AUTH_SECRET: SECRET, DATABASE_URL, HOST: '127.0.0.1', PORT: '0', ...more }
    const server = run(t, ['--import', IMPORTS, SERVER], env)
    const [, url] = await server.printed(/Server listening at ([^"]+)"/)
    await fetch(`${url}/todos`, { headers: (await identity()).headers })
    const { stderr } = await server.stop()
    return new Set(stderr.split('\n').filter(Boolean))
  }
  t.same(await loaded({}), new Set(), 'neither packages for metrics nor for traces')
  const withMetrics = await loaded({ METRICS_TOKEN })
  t.ok(withMetrics.has('loaded prom-client'), 'with metrics those for metrics')
  t.notOk(withMetrics.has('loaded @opentelemetry/sdk-trace-node'), 'and not those for traces')
  const withTraces = await loaded({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' })
  t.ok(withTraces.has('loaded @opentelemetry/sdk-trace-node'), 'with traces those for traces')
  t.notOk(withTraces.has('loaded prom-client'), 'and not those for metrics')
})

t.test('without the optional packages it says so', async (t) => {
  const env = {
    BETTER_AUTH_SECRET: SECRET,
    DATABASE_URL: await embeddedUrl(),
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
    HIDDEN: '@opentelemetry/',
  }
  const { code, stderr } = await run(t, ['--import', IMPORTS, SERVER], env).ended
  t.equal(code, 1, 'exit code 1')
  t.match(stderr, /^taskward: OTEL_EXPORTER_OTLP_ENDPOINT needs optional packages, [^\n]+\n$/, 'one sentence')
})
