import type { InjectOptions, LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import { type App, build, identity } from '../helper/app.ts'
import { database } from '../helper/database.ts'

const FRONTEND_URL = ' https://app.example.com/ , http://localhost:3000,https://app-*-team.vercel.app,'
const LISTED = [
  'https://app.example.com',
  'http://localhost:3000',
  'https://app-a-team.vercel.app',
  'https://app-git-feature-1-team.vercel.app',
]
const LOOK_ALIKES = [
  'null',
  'http://app.example.com',
  'https://app.example.com:8443',
  'https://APP.example.com',
  'https://app.example.com.',
  'https://app.example.com/',
  'https://app.example.com.evil.com',
  'https://app.example.comevil.com',
  'https://evilapp.example.com',
  'https://x.app.example.com',
  'https://example.com',
  'https://user@app.example.com',
  'https://app.example.com@evil.com',
  'https://app.example.com, https://evil.com',
  'https://app.example.com https://evil.com',
  'https://appxexample.com',
  'https://app.examp1e.com',
  'https://xn--pp-ekb.example.com',
  'http://localhost',
  'http://localhost:30001',
  'http://127.0.0.1:3000',
  'https://app--team.vercel.app.evil.com',
  'https://app--team.vercel.app',
  'https://app-a.b-team.vercel.app',
  'https://app-a/-team.vercel.app',
  'https://app-a#-team.vercel.app',
  'https://app-evil.com/-team.vercel.app',
  'https://app-team.vercel.app',
  'https://app-a-team.vercel.app:8443',
  'http://app-a-team.vercel.app',
  'https://app-*-team.vercel.app',
  'https://evil-a-team.vercel.app',
  'https://app-a-team.vercel.app.evil.com',
  '*',
  '',
]

const list = (value: unknown) => String(value).toLowerCase().split(/ *, */)
const accessControl = (headers: object) =>
  Object.keys(headers).filter((name) => name.startsWith('access-control'))

function preflight(app: App, origin: string, url = '/todos', method = 'POST') {
  return app.inject({
    method: 'OPTIONS',
    url,
    headers: {
      origin,
      'access-control-request-method': method,
      'access-control-request-headers': 'authorization,content-type',
    },
  })
}

t.test('a preflight needs no token', async (t) => {
  const app = await build(t, { env: { FRONTEND_URL } })
  for (const origin of LISTED) {
    for (const url of [
      '/todos',
      '/todos/1',
      '/todos/1/toggle',
      '/api/someone/tasks',
      '/me',
      '/',
      '/nowhere',
    ]) {
      const { statusCode, headers, body } = await preflight(app, origin, url, 'DELETE')
      t.equal(statusCode, 204, `${url} from ${origin}`)
      t.equal(body, '', 'a preflight has no body')
      t.equal(headers['access-control-allow-origin'], origin, 'the origin is named')
      t.equal(headers['access-control-allow-credentials'], 'true', 'credentials are allowed')
      t.match(headers['access-control-max-age'], /^\d+$/, 'Max-Age is a number')
      t.ok(Number(headers['access-control-max-age']) >= 600, 'Max-Age is at least ten minutes')
      t.ok(Number(headers['access-control-max-age']) <= 7200, 'Max-Age is at most two hours')
      const methods = list(headers['access-control-allow-methods'])
      t.same(methods.toSorted(), ['delete', 'get', 'head', 'patch', 'post', 'put'], 'all methods are allowed')
      const named = list(headers['access-control-allow-headers'])
      t.same(named, ['authorization', 'content-type'], 'the headers asked for are allowed')
      t.ok(list(headers.vary).includes('origin'), 'a preflight varies by origin')
    }
  }
})

t.test('whatever header a listed origin asks for is allowed, and to others nothing is', async (t) => {
  const app = await build(t, { env: { FRONTEND_URL } })
  const asked = 'authorization,baggage,cache-control,prefer,sentry-trace,traceparent,x-requested-with'
  const ask = async (origin: string, names?: string) => {
    const { headers } = await app.inject({
      method: 'OPTIONS',
      url: '/todos',
      headers: {
        origin,
        'access-control-request-method': 'GET',
        ...(names && { 'access-control-request-headers': names }),
      },
    })
    t.ok(
      list(headers.vary).includes('access-control-request-headers'),
      'the preflight varies by what was asked',
    )
    return headers['access-control-allow-headers']
  }
  t.equal(await ask('http://localhost:3000', asked), asked, 'what is asked for')
  t.equal(await ask('http://localhost:3000'), undefined, 'nothing, where nothing is asked for')
  const { headers } = await app.inject({
    method: 'OPTIONS',
    url: '/todos',
    headers: {
      origin: 'https://evil.com',
      'access-control-request-method': 'GET',
      'access-control-request-headers': asked,
    },
  })
  t.same(accessControl(headers), [], 'another origin gets no CORS headers')
})

t.test('an origin that looks like a listed one gets no CORS headers', async (t) => {
  const app = await build(t, { env: { FRONTEND_URL } })
  const user = await identity()
  for (const origin of LOOK_ALIKES) {
    for (const response of [
      await preflight(app, origin),
      await app.inject({ url: '/todos', headers: { ...user.headers, origin } }),
      await app.inject({ url: '/todos', headers: { origin } }),
      await app.inject({ url: '/%E0%A4%A', headers: { origin } }),
    ]) {
      t.same(accessControl(response.headers), [], JSON.stringify(origin))
      t.ok(
        list(response.headers.vary).includes('origin'),
        `${JSON.stringify(origin)}: the answer varies by origin`,
      )
    }
  }
})

t.test('every answer varies by origin and can be read by a listed one', async (t) => {
  const app = await build(t, { env: { FRONTEND_URL } })
  const real = await database()
  const failing = (error: Error) =>
    build(t, { env: { FRONTEND_URL }, database: { ...real, run: () => Promise.reject(error) } })
  const [broken, down] = [
    await failing(new Error('a bug')),
    await failing(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })),
  ]
  const { headers } = await identity()
  const post = { method: 'POST' as const, url: '/todos', headers }

  const answers: [status: number, request: InjectOptions, from?: App][] = [
    [200, { url: '/' }],
    [200, { url: '/health' }],
    [200, { url: '/todos', headers }],
    [200, { url: '/docs' }],
    [200, { url: '/docs/static/swagger-ui.css' }],
    [200, { url: '/openapi.json' }],
    [201, { ...post, payload: { title: 'x' } }],
    [400, { url: '/%E0%A4%A' }],
    [400, { ...post, headers: { ...headers, 'content-type': 'application/json' }, payload: '{' }],
    [401, { url: '/todos' }],
    [401, { url: '/todos', headers: { authorization: 'Bearer x' } }],
    [403, { url: '/api/another/tasks', headers }],
    [404, { url: '/nowhere' }],
    [404, { url: '/todos/999', headers }],
    [404, { url: '/docs/static/nothing.js' }],
    [405, { method: 'PUT', url: '/todos', headers }],
    [413, { ...post, payload: { title: 'x'.repeat(1 << 20) } }],
    [414, { url: `/todos/${'1'.repeat(3000)}`, headers }],
    [415, { ...post, payload: 'title=x' }],
    [422, { ...post, payload: {} }],
    [500, { url: '/todos', headers }, broken],
    [503, { url: '/todos', headers }, down],
  ]
  for (const [status, request, from = app] of answers) {
    await t.test(
      `${status} from ${request.method ?? 'GET'} ${String(request.url).slice(0, 40)}`,
      async (t) => {
        const [listed, other, none] = await Promise.all(
          [{ origin: LISTED[0] }, { origin: 'https://evil.com' }, {}].map((origin) =>
            from.inject({ ...request, headers: { ...request.headers, ...origin } }),
          ),
        )
        for (const { statusCode, headers } of [listed, other, none] as Response[]) {
          t.equal(statusCode, status, `the status is ${status}`)
          t.ok(list(headers.vary).includes('origin'), 'Vary')
        }
        checkReadable(t, listed?.headers ?? {})
        t.same(accessControl(other?.headers ?? {}), [], 'another origin gets no CORS headers')
        t.same(accessControl(none?.headers ?? {}), [], 'a request without origin gets no CORS headers')
      },
    )
  }
  const options = await app.inject({ method: 'OPTIONS', url: '/todos' })
  t.ok(list(options.headers.vary).includes('origin'), 'OPTIONS without an origin varies by it as well')
})

function checkReadable(t: Test, headers: Record<string, unknown>): void {
  t.equal(headers['access-control-allow-origin'], LISTED[0], 'the origin is named')
  t.equal(headers['access-control-allow-credentials'], 'true', 'credentials are allowed')
  const exposed = list(headers['access-control-expose-headers'])
  t.same(
    exposed.toSorted(),
    [
      'etag',
      'idempotency-replayed',
      'link',
      'location',
      'ratelimit-limit',
      'ratelimit-remaining',
      'ratelimit-reset',
      'retry-after',
      'x-request-id',
      'x-total-count',
    ],
    'what is sent can be read, and nothing else is promised',
  )
}

t.test('two Origin headers count as none', async (t) => {
  const app = await build(t, { env: { FRONTEND_URL } })
  const origin = [LISTED[0], 'https://evil.com'] as unknown as string
  t.same(
    accessControl((await app.inject({ url: '/', headers: { origin } })).headers),
    [],
    'two origins get no CORS headers',
  )
})

t.test('without FRONTEND_URL: ALLOWED_ORIGINS, else only the local front end', async (t) => {
  for (const [env, origin, allowed] of [
    [{}, 'http://localhost:3000', true],
    [{}, 'http://localhost:3001', false],
    [{}, 'https://app.example.com', false],
    [{ ALLOWED_ORIGINS: 'https://b.example.com' }, 'https://b.example.com', true],
    [{ ALLOWED_ORIGINS: 'https://b.example.com' }, 'http://localhost:3000', false],
  ] as const) {
    const app = await build(t, { env: { FRONTEND_URL: undefined, ...env } })
    const { headers } = await preflight(app, origin)
    t.equal(
      headers['access-control-allow-origin'],
      allowed ? origin : undefined,
      `${origin} is ${allowed ? 'allowed' : 'refused'} with ${JSON.stringify(env)}`,
    )
  }
})

t.test('the service does not start with a list that is too permissive', async (t) => {
  for (const entry of [
    '*',
    'null',
    'https://*',
    'https://*.vercel.app',
    'https://*-team.app',
    'https://app-*.vercel.app',
    'https://app-*-*-team.vercel.app',
    'https://app.*.vercel.app',
    'https://app-*-team.vercel.*',
    '*://app.example.com',
    'https://app.example.com/path',
    'https://app.example.com?x',
    'https://user:secret@app.example.com',
    'app.example.com',
    'ftp://app.example.com',
    'https://',
  ]) {
    await t.rejects(
      build(t, { env: { FRONTEND_URL: `https://ok.example.com,${entry}` } }),
      /FRONTEND_URL/,
      entry,
    )
  }
})
