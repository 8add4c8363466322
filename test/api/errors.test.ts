import { gzipSync } from 'node:zlib'
import Fastify, { type InjectOptions, type LightMyRequestResponse as Response } from 'fastify'
import pg from 'pg'
import t from 'tap'
import errors from '../../plugins/errors.ts'
import { schemaCompilers } from '../../plugins/schemas.ts'
import type { Database } from '../../src/database/index.ts'
import { build, identity, mint } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { bearer, exchange, expectProblem, head, serve } from '../helper/http.ts'

t.test('one body from every layer', async (t) => {
  const app = await build(t)
  const { headers } = await identity()
  const now = Math.floor(Date.now() / 1000)
  const json = { 'content-type': 'application/json' }

  const expected: [status: number, code: string, request: InjectOptions & { url: string }][] = [
    [400, 'malformed_url', { url: '/%E0%A4%A', headers }],
    [400, 'malformed_url', { url: '/todos/%E0%A4%A', headers }],
    [
      400,
      'malformed_json',
      { method: 'POST', url: '/todos', headers: { ...headers, ...json }, payload: '{' },
    ],
    [401, 'missing_token', { url: '/todos' }],
    [401, 'invalid_token', { url: '/todos', headers: bearer('a.b.c') }],
    [401, 'token_expired', { url: '/todos', headers: bearer(await mint({ sub: 'u', exp: now - 60 })) }],
    [401, 'missing_user_id', { url: '/todos', headers: bearer(await mint({})) }],
    [403, 'forbidden', { url: '/api/another/tasks', headers }],
    [404, 'not_found', { url: '/nowhere', headers }],
    [404, 'task_not_found', { url: '/todos/1', headers }],
    [405, 'method_not_allowed', { method: 'PUT', url: '/todos', headers }],
    [413, 'body_too_large', { method: 'POST', url: '/todos', headers, body: { title: 'x'.repeat(1 << 20) } }],
    [414, 'url_too_long', { url: `/todos/${'1'.repeat(3000)}`, headers }],
    [415, 'unsupported_media_type', { method: 'POST', url: '/todos', headers, payload: 'title=x' }],
    [422, 'validation_failed', { method: 'POST', url: '/todos', headers, body: { title: 1 } }],
    [422, 'validation_failed', { method: 'POST', url: '/todos', headers }],
    [422, 'validation_failed', { url: '/todos?limit=0', headers }],
    [422, 'validation_failed', { url: '/todos/0', headers }],
    [404, 'not_found', { url: '/todos/x', headers }],
  ]
  for (const [status, code, request] of expected) {
    await t.test(`${status} ${code} from ${request.url.slice(0, 40)}`, async (t) => {
      expectProblem(t, await app.inject(request), status, code)
    })
  }

  t.test('401 carries a challenge, with an error code only if there was a token', async (t) => {
    const none = await app.inject({ url: '/todos' })
    t.match(none.headers['www-authenticate'], /^Bearer realm="[^"]+"$/, 'no error code without a token')
    const wrong = await app.inject({ url: '/todos', headers: bearer('x') })
    t.match(
      wrong.headers['www-authenticate'],
      /^Bearer .*error="invalid_token"/,
      'an error code with a token',
    )
  })
})

const listed = ({ headers }: Response) => String(headers.allow).split(', ').toSorted()

t.test('a wrong method is 405, and Allow lists the right ones', async (t) => {
  const app = await build(t)
  const { id, headers } = await identity()
  const { paths = {} } = app.swagger()
  const documented = Object.entries(paths).map(([path, operations]) => ({
    url: path.replace('{user_id}', id).replace('{id}', '1'),
    right: Object.keys(operations ?? {}).map((method) => method.toUpperCase()),
  }))
  const routes = [
    ...documented,
    { url: '/docs', right: ['GET'] },
    { url: '/docs/static/swagger-ui.css', right: ['GET'] },
    { url: '/openapi.json', right: ['GET'] },
  ]
  t.ok(documented.length > 20, 'there are routes to call')

  const ALL = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'PROPFIND', 'QUERY'] as const
  for (const { url, right } of routes) {
    await t.test(url, async (t) => {
      const allowed = [...right, ...(right.includes('GET') ? ['HEAD'] : [])]
      const allow = [...allowed, 'OPTIONS'].toSorted()

      for (const method of ALL.filter((method) => !allowed.includes(method))) {
        const response = await app.inject({ method: method as 'GET', url: `${url}/?a=b`, headers })
        if (method === 'HEAD') t.equal(response.statusCode, 405, 'HEAD is 405')
        else expectProblem(t, response, 405, 'method_not_allowed')
        t.same(listed(response), allow, method)
      }
      const options = await app.inject({ method: 'OPTIONS', url })
      t.equal(options.statusCode, 204, 'OPTIONS is 204')
      t.equal(options.body, '', 'OPTIONS has no body')
      t.same(listed(options), allow, 'OPTIONS lists the methods')
    })
  }
  expectProblem(t, await app.inject({ method: 'OPTIONS', url: '/nowhere' }), 404)
  expectProblem(t, await app.inject({ method: 'POST', url: '/nowhere', headers }), 404)
})

t.test('a body is JSON or refused', async (t) => {
  const app = await build(t)
  const { headers } = await identity()
  const send = (type: string | undefined, payload: string | Buffer, url = '/todos', method = 'POST') =>
    app.inject({
      method: method as 'POST',
      url,
      headers: { ...headers, ...(type && { 'content-type': type }) },
      payload,
    })
  const created = await send('application/json; charset=utf-8', '{"title":"x"}')
  t.equal(created.statusCode, 201, 'JSON with a charset is accepted')
  const at = `/todos/${created.json().id}`

  t.test('415 for another type, 2xx for none', async (t) => {
    const types = [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/xml',
      'text/json',
      'application/jsonp',
      'application/merge-patch+json',
      'json',
      undefined,
    ]
    for (const type of types) {
      expectProblem(t, await send(type, '{"title":"x"}'), 415)
      expectProblem(t, await send(type, '{"title":"y"}', at, 'PATCH'), 415)
      expectProblem(t, await send(type, '{"completed":true}', `${at}/toggle`, 'PATCH'), 415)
    }
    t.equal((await app.inject({ url: at, headers })).json().title, 'x', 'the refused bodies changed nothing')
    t.equal(
      (await send('application/json', '', `${at}/toggle`, 'PATCH')).statusCode,
      200,
      'an announced body may be empty',
    )
    t.equal((await send(undefined, '', `${at}/toggle`, 'PATCH')).statusCode, 200, 'no body needs no type')
    t.equal(
      (await send('application/json', '', at, 'DELETE')).statusCode,
      200,
      'DELETE accepts an announced empty body',
    )
  })

  t.test('415 for an encoded one', async (t) => {
    for (const coding of ['gzip', 'br', 'identity, gzip', 'GZIP']) {
      const response = await app.inject({
        method: 'POST',
        url: '/todos',
        headers: { ...headers, 'content-type': 'application/json', 'content-encoding': coding },
        payload: gzipSync('{"title":"x"}'),
      })
      expectProblem(t, response, 415, 'unsupported_media_type')
      t.equal(response.headers['accept-encoding'], 'identity', 'it tells what would do')
    }
    const plain = await app.inject({
      method: 'POST',
      url: '/todos',
      headers: { ...headers, 'content-type': 'application/json', 'content-encoding': 'Identity' },
      payload: '{"title":"x"}',
    })
    t.equal(plain.statusCode, 201, 'identity is no coding')
  })

  t.test('400 for what is not JSON', async (t) => {
    const bodies = [
      '{',
      '{"title":"x",}',
      "{'title':'x'}",
      '{"title":"x"}{}',
      '{"title":NaN}',
      '{"title":"\u0000"}',
      '['.repeat(30_000),
      Buffer.from('7b227469746c65223a22ff227d', 'hex'), // a byte that never occurs in UTF-8
      Buffer.from('7b227469746c65223a22eda080227d', 'hex'), // half of a surrogate pair
      Buffer.from('{"title":"x"}', 'utf16le'),
      gzipSync('{"title":"x"}'),
    ]
    for (const body of bodies) expectProblem(t, await send('application/json', body), 400, 'malformed_json')
  })

  t.test('no body reaches a prototype', async (t) => {
    const bodies = [
      '{"title":"x","__proto__":{"polluted":1}}',
      '{"title":"x","__proto__":null}',
      '{"title":"x","\\u005f_proto__":{"polluted":1}}',
      '{"title":"x","constructor":{"prototype":{"polluted":1}}}',
      '{"title":{"__proto__":{"polluted":1}}}',
    ]
    for (const body of bodies) {
      const response = await send('application/json', body)
      expectProblem(t, response, 422, 'validation_failed')
      t.match(response.json().detail, /(__proto__|constructor) is unknown$/, body)
    }
    const [, , , , inTitle = ''] = bodies
    t.same(
      (await send('application/json', inTitle)).json().errors,
      [{ loc: ['body', 'title', '__proto__'], msg: 'is unknown', type: 'additionalProperties' }],
      'with its place',
    )
    const late = `[${'1,'.repeat(500_000)}{"__proto__":1}]`
    const { detail } = (
      await app.inject({
        method: 'POST',
        url: '/todos/bulk',
        headers: { ...headers, 'content-type': 'application/json' },
        payload: late,
      })
    ).json()
    t.equal(
      detail,
      'body must not have a __proto__ or a prototype',
      'its place is not looked for without end',
    )
    const deep = `${'['.repeat(20_000)}{"__proto__":1}${']'.repeat(20_000)}`
    const response = await send('application/json', deep)
    expectProblem(t, response, 422)
    t.ok(response.body.length < 1000, 'however deep it stands, the answer is short')
    expectProblem(t, await send('application/json', '{"title":"x","constructor":1}'), 422)
    t.notOk('polluted' in {}, 'Object.prototype is clean')
  })

  t.test('large or deeply nested bodies are refused at once', async (t) => {
    const started = Date.now()
    const nested = '['.repeat(30_000) + ']'.repeat(30_000)
    expectProblem(t, await send('application/json', nested), 422)
    expectProblem(t, await send('application/json', `{"title":${nested}}`), 422)
    expectProblem(t, await send('application/json', `{"title":"${'x'.repeat(60_000)}"}`), 422)
    expectProblem(t, await send('application/json', `"${'x'.repeat(1 << 20)}"`), 413)
    const keys = Array.from({ length: 5000 }, (_, i) => `"k${i}":1`).join()
    const response = await send('application/json', `{${keys}}`)
    expectProblem(t, response, 422)
    t.ok(response.json().errors.length <= 20, 'no answer grows with its request')
    t.ok(Date.now() - started < 5000, 'all of it within five seconds')
  })
})

const sqlState = (code: string, severity = 'ERROR') =>
  Object.assign(new pg.DatabaseError('relation "tasks": select secret from postgres', 9, 'error'), {
    code,
    severity,
  })
const withCode = (code: string) => Object.assign(new Error(`connect ${code} 10.0.0.7:5432`), { code })

t.test('what the database throws', async (t) => {
  const real = await database()
  const { headers } = await identity()
  const lines: { level: string; msg: string; status?: number; err?: { message: string; stack: string } }[] =
    []
  let fault: unknown
  const fail = async () => {
    throw fault
  }
  let isBuilt = false
  const asLogin: Database['asLogin'] = (...args) => (isBuilt ? fail() : real.asLogin(...args))
  const check: Database['check'] = (...args) => (isBuilt ? fail() : real.check(...args))
  const app = await build(t, {
    database: { ...real, run: fail, asLogin, check },
    onLog: (line) => lines.push(JSON.parse(line)),
  })
  isBuilt = true

  const cases: [name: string, fault: unknown, status: number][] = [
    ['57P01 admin shutdown', sqlState('57P01', 'FATAL'), 503],
    ['57P03 starting up', sqlState('57P03', 'FATAL'), 503],
    ['53300 too many connections', sqlState('53300', 'FATAL'), 503],
    ['53100 disk full', sqlState('53100'), 503],
    ['57014 statement time-out', sqlState('57014'), 503],
    ['55P03 lock time-out', sqlState('55P03'), 503],
    ['40001 serialization', sqlState('40001'), 503],
    ['25006 read-only', sqlState('25006'), 503],
    ['no connection in time', new Error('timeout exceeded when trying to connect'), 503],
    ['connection lost', new Error('Connection terminated unexpectedly'), 503],
    ['no answer in time', new Error('Query read timeout'), 503],
    ['nothing listens', withCode('ECONNREFUSED'), 503],
    ['several addresses, none listens', Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' }), 503],
    ['reset', withCode('ECONNRESET'), 503],
    ['unknown host', withCode('ENOTFOUND'), 503],
    ['26000 no prepared statement', sqlState('26000'), 503],
    ['42P01 no table', sqlState('42P01'), 500],
    ['a bug', new TypeError('x is not a function: postgres://user:hunter2@host'), 500],
    ['a bug with a status', Object.assign(new Error('select'), { statusCode: 200 }), 500],
    ['not an error', 'select', 500],
    ['undefined', undefined, 500],
    ['null', null, 500],
  ]
  for (const [name, thrown, status] of cases) {
    await t.test(`${status} for ${name}`, async (t) => {
      fault = thrown
      for (const request of [
        { url: '/todos', headers },
        { method: 'POST' as const, url: '/todos', headers, payload: { title: 'x' } },
        { url: '/ready' },
      ]) {
        lines.length = 0
        const response = await app.inject(request)
        expectProblem(t, response, status, status === 500 ? 'internal_error' : 'database_unavailable')
        t.equal(
          /^[1-9]\d*$/.test(String(response.headers['retry-after'])),
          status === 503,
          `Retry-After only with 503`,
        )

        const [failure, ...others] = lines.filter(({ msg }) => msg !== 'request')
        t.same(others, [], 'logged once')
        t.equal(failure?.level, status === 503 ? 'warn' : 'error', 'the level of the log fits')
        if (thrown instanceof Error) {
          t.equal(failure?.err?.message, thrown.message, 'the log has the message')
          t.match(failure?.err?.stack, /\n +at /, 'in full')
        }
        t.equal(lines.at(-1)?.status, status, 'the line of the request has the status')
      }
    })
  }

  t.test('500 for a row that does not fit the answer', async (t) => {
    const app = await build(t, { database: { ...real, run: async () => [{}] as never[] } })
    expectProblem(t, await app.inject({ url: '/todos/1', headers }), 500, 'internal_error')
  })
})

t.test('HEAD answers like GET, without the body', async (t) => {
  const real = await database()
  const app = await build(t)
  const broken = await build(t, {
    database: {
      ...real,
      run: async () => {
        throw new Error('a bug')
      },
    },
  })
  const user = await identity()
  const headers = { ...user.headers, 'x-request-id': 'the-same' }
  await app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } })
  for (const [status, from, request] of [
    [200, app, { url: '/' }],
    [200, app, { url: '/health' }],
    [200, app, { url: '/todos?count=true', headers }],
    [200, app, { url: '/openapi.json', headers }],
    [401, app, { url: '/todos', headers: { 'x-request-id': 'the-same' } }],
    [403, app, { url: '/api/another/tasks', headers }],
    [404, app, { url: '/nowhere', headers }],
    [404, app, { url: '/todos/9', headers }],
    [405, app, { url: '/todos/9/toggle', headers }],
    [422, app, { url: '/todos/0', headers }],
    [500, broken, { url: '/todos', headers }],
  ] as const) {
    const [get, head] = await Promise.all([
      from.inject({ ...request, method: 'GET' }),
      from.inject({ ...request, method: 'HEAD' }),
    ])
    const { 'x-request-id': a, date: _1, ...ofGet } = get.headers
    const { 'x-request-id': b, date: _2, ...ofHead } = head.headers
    t.equal(head.statusCode, status, request.url)
    t.equal(get.statusCode, status, `GET ${request.url} is ${status}`)
    t.equal(head.body, '', 'HEAD has no body')
    t.same(ofHead, ofGet, 'the headers are the same')
    t.equal(typeof a, typeof b, 'both have a request id, or neither')
  }
})

t.test('on the wire: expectations and absolute targets', async (t) => {
  const app = await build(t)
  const { headers } = await identity()
  const { port } = await serve(app)
  const credential = `Authorization: ${headers.authorization}`
  const create = ['Content-Type: application/json', 'Content-Length: 13', 'Connection: close', credential]
  const body = '{"title":"x"}'

  const origin = 'Origin: https://app.example.com'
  const refused = await exchange(port, head('POST /todos HTTP/1.1', 'Expect: x', origin, ...create) + body)
  expectProblem(t, refused, 417, 'expectation_failed')
  t.equal(refused.headers['access-control-allow-origin'], 'https://app.example.com', 'a page can read it')
  t.equal(refused.headers.vary, 'Origin', 'it varies by origin')
  const continued = await exchange(
    port,
    head('POST /todos HTTP/1.1', 'Expect: 100-continue', ...create) + body,
  )
  t.equal(continued.statusCode, 100, '100-continue is met')
  t.match(continued.body, /^HTTP\/1.1 201/, 'and the request answered')

  for (const target of ['http://evil.example/todos', 'HTTP://evil.example:80/todos/?_=http://x']) {
    const { statusCode, headers } = await exchange(port, head(`POST ${target} HTTP/1.1`, ...create) + body)
    t.equal(statusCode, 201, target)
    t.match(headers.location, /^\/todos\/\d+$/, 'Location is a path')
  }
  const listed = await exchange(
    port,
    head('GET http://evil.example/todos?limit=1 HTTP/1.1', credential, 'Connection: close'),
  )
  t.match(listed.headers.link, /^<\/todos\?limit=1&cursor=\w+>; rel="next"$/, 'Link is a path')

  const query = await exchange(port, head('QUERY /todos HTTP/1.1', credential, 'Connection: close'))
  expectProblem(t, query, 405, 'method_not_allowed')
  expectProblem(t, await exchange(port, head('QUERY /nowhere HTTP/1.1', 'Connection: close')), 404)
})

t.test('messages come from the schema', async (t) => {
  const app = Fastify({ schemaController: { compilersFactory: schemaCompilers() } })
  t.teardown(() => app.close())
  await app.register(errors)
  const properties = {
    colour: { type: 'string', pattern: '^#[0-9a-f]{6}$', 'x-message': 'must be a colour such as #ff8800' },
    code: { type: 'string', pattern: '^[A-Z]+$' },
    size: { type: 'string', enum: ['small', 'large'] },
    day: { type: 'string', format: 'date' },
    at: { type: 'string', format: 'date-time' },
    ref: { type: 'string', format: 'uuid' },
    link: { type: 'string', format: 'uri' },
    mail: { type: 'string', format: 'email' },
    name: { type: 'string', format: 'line', maxLength: 3, 'x-message': 'must be one line' },
    share: { type: 'number', exclusiveMinimum: 0, maximum: 1 },
    tags: { type: 'array', items: { type: 'string', enum: ['a', 'b'] }, maxItems: 2, uniqueItems: true },
  }
  app.post(
    '/',
    { schema: { body: { type: 'object', properties, additionalProperties: false } } },
    async () => 'ok',
  )
  const post = (payload: object) => app.inject({ method: 'POST', url: '/', payload })

  for (const payload of [
    { colour: '#ff8800', code: 'AB', size: 'small', name: 'Ada', share: 0.5, tags: ['a', 'b'] },
    { day: '2024-02-29', at: '2026-01-31T09:30:00Z', mail: 'ada@example.com' },
    { at: '2026-01-31t23:59:59.123456+05:30', link: 'https://example.com/a?b#c' },
    { ref: '0b0e8f9c-4f6c-4a53-9e0e-9d0ad1f6a8a1', link: 'mailto:ada@example.com' },
  ]) {
    t.equal((await post(payload)).statusCode, 200, JSON.stringify(payload))
  }
  for (const [payload, detail] of [
    [{ colour: 'red' }, 'colour must be a colour such as #ff8800'],
    [{ code: 'ab' }, 'code must match ^[A-Z]+$'],
    [{ size: 'huge' }, 'size must be small or large'],
    [{ day: '2026-02-30' }, 'day must be a date such as 2026-01-31'],
    [{ day: '2026-1-3' }, 'day must be a date such as 2026-01-31'],
    [{ at: '2026-01-31' }, 'at must be a date and time such as 2026-01-31T09:30:00Z'],
    [{ at: '2026-01-31T09:30:00' }, 'at must be a date and time such as 2026-01-31T09:30:00Z'],
    [{ at: '2026-02-30T09:30:00Z' }, 'at must be a date and time such as 2026-01-31T09:30:00Z'],
    [{ at: '2026-01-31T24:30:00Z' }, 'at must be a date and time such as 2026-01-31T09:30:00Z'],
    [{ ref: '1' }, 'ref must be a UUID'],
    [{ link: '/path' }, 'link must be an address such as https://example.com/'],
    [{ link: 'https://a b' }, 'link must be an address such as https://example.com/'],
    [{ mail: 'ada' }, 'mail must be an e-mail address'],
    [{ name: 'a\n' }, 'name must be one line'],
    [{ name: 'abcd' }, 'name must have at most 3 characters'],
    [{ share: 0 }, 'share must be more than 0'],
    [{ tags: ['a', 'c'] }, 'tags.1 must be a or b'],
    [{ tags: ['a', 'a'] }, 'tags must not have an item twice'],
  ] as const) {
    const response = await post(payload)
    t.equal(response.statusCode, 422, JSON.stringify(payload))
    t.equal(response.json().detail, detail, detail)
  }
})

t.test('two apps may mean different schemas by the same name', async (t) => {
  const appWith = async (properties: object) => {
    const app = Fastify({ schemaController: { compilersFactory: schemaCompilers() } })
    t.teardown(() => app.close())
    await app.register(errors)
    app.addSchema({ $id: 'Same', type: 'object', properties, additionalProperties: false })
    const same = { $ref: 'Same#' }
    app.post('/', { schema: { body: same, response: { 200: same } } }, async () => ({ a: '1', b: '1' }))
    return (payload: object) => app.inject({ method: 'POST', url: '/', payload })
  }
  const one = await appWith({ a: { type: 'string' } })
  const other = await appWith({ b: { type: 'integer' } })
  t.same((await one({ a: 'x' })).json(), { a: '1' })
  t.same((await other({ b: 1 })).json(), { b: 1 })
  t.equal((await one({ b: 1 })).statusCode, 422, 'the first app knows only its own')
  t.equal((await other({ a: 'x' })).statusCode, 422, 'the second app knows only its own')
})
