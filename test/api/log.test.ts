import { connect } from 'node:net'
import { once } from 'node:events'
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import t, { type Test } from 'tap'
import { createLogger, requestLogger } from '../../src/log.ts'
import { type BuildOptions, build, identity, mint, SECRET } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { bearer, exchange, serve } from '../helper/http.ts'

interface Line {
  level: string
  time: string
  msg: string
  request_id?: string
  method?: string
  path?: string
  status?: number
  user_id?: string
  ms?: number
  code?: string
  reason?: string
  err?: { message: string; stack: string }
}

/** An app and its log so far: `texts` as written, `lines` parsed. */
async function logged(t: Test, options: BuildOptions = {}) {
  const texts: string[] = []
  const app = await build(t, { ...options, onLog: (text) => texts.push(text) })
  texts.length = 0
  return { app, texts, lines: () => texts.map((text): Line => JSON.parse(text)) }
}

const databaseThat = async (run: () => Promise<never>) => ({ ...(await database()), run })

t.test('one line for each request', async (t) => {
  const { app, texts, lines } = await logged(t)
  const { id, headers } = await identity()
  for (const [status, user_id, code, request] of [
    [200, undefined, undefined, { url: '/health' }],
    [200, id, undefined, { url: '/todos?limit=5', headers }],
    [201, id, undefined, { method: 'POST', url: '/todos', headers, payload: { title: 'x' } }],
    [204, undefined, undefined, { method: 'OPTIONS', url: '/todos' }],
    [400, undefined, 'malformed_url', { url: '/%E0%A4%A' }],
    [401, undefined, 'missing_token', { url: '/todos' }],
    [403, id, 'forbidden', { url: '/api/another/tasks', headers }],
    [404, id, 'task_not_found', { method: 'DELETE', url: '/todos/99', headers }],
    [404, undefined, 'not_found', { url: '/nowhere', headers }],
    [405, undefined, 'method_not_allowed', { method: 'PUT', url: '/todos', headers }],
    [413, id, 'body_too_large', { method: 'POST', url: '/todos', headers, payload: { a: 'x'.repeat(1e6) } }],
    [415, id, 'unsupported_media_type', { method: 'POST', url: '/todos', headers, payload: 'x' }],
    [422, id, 'validation_failed', { method: 'POST', url: '/todos', headers, payload: {} }],
  ] as const) {
    texts.length = 0
    const started = Date.now()
    const response = await app.inject({ method: 'GET', ...request })
    t.equal(response.statusCode, status, `the status is ${status}`)
    t.equal(texts.length, 1, `${status} ${code}`)
    t.match(texts[0], /^[\x20-\x7e]+\n$/, 'a line of ASCII')
    const { method, path, ms = -1, time, ...line } = lines()[0] as Line
    t.equal(method, 'method' in request ? request.method : 'GET', 'the method')
    t.equal(path, request.url.split('?')[0], 'the path, without the query')
    t.equal(line.request_id, response.headers['x-request-id'], 'the request id')
    t.equal(line.status, status, 'the status')
    t.equal(line.user_id, user_id, 'the user')
    t.equal(line.code, code, 'the code')
    t.equal(line.level, 'info', 'the level')
    t.ok(ms >= 0 && ms <= Date.now() - started + 50, `${ms} ms`)
    t.ok(Math.abs(Date.parse(time) - Date.now()) < 5000, 'the time')
  }
})

t.test('the logger of a request has its id, and the level of its route', async (t) => {
  const texts: string[] = []
  const logger = createLogger({ write: (text) => texts.push(text) })
  const bindings = { request_id: 'id-1' }
  for (const options of [{}, { level: 'error' as const }]) {
    const log = requestLogger(logger, bindings, options)
    log.info('info')
    log.error({ token: 'x' }, 'error')
  }
  const said = texts.map((text): Line => JSON.parse(text))
  t.match(said, [{ msg: 'info' }, { msg: 'error' }, { msg: 'error' }], 'the level is respected')
  t.equal(said.length, 3, 'nothing else was written')
  for (const line of said) t.equal(line.request_id, 'id-1', 'the line has the id')
  t.notMatch(texts.join(''), '"x"', 'tokens are redacted')
})

t.test('a fault is logged in full, in addition to the line of its request', async (t) => {
  const { app, lines } = await logged(t, {
    database: await databaseThat(() => Promise.reject(new TypeError('a bug'))),
  })
  const { headers } = await identity()
  const response = await app.inject({ url: '/todos', headers })
  const [fault, request, ...others] = lines()
  t.same(others, [], 'no other line')
  t.match(
    fault,
    { level: 'error', err: { message: 'a bug', stack: /\n +at .+log\.test\.ts/ } },
    'the fault with its stack',
  )
  t.match(request, { msg: 'request', status: 500, code: 'internal_error' }, 'the request with its code')
  t.equal(fault?.request_id, response.headers['x-request-id'], 'the fault has the request id')
  t.equal(request?.request_id, fault?.request_id, 'the request has the same id')
})

t.test('ASCII, and nothing lost', async (t) => {
  const title = 'naïve 漢字 😀 \u202e \u2028 \u007f \u0085 "quoted" back\\slash \r\n\t \u001b[31m \ud83d'
  const { app, texts, lines } = await logged(t, {
    database: await databaseThat(() =>
      Promise.reject(
        Object.assign(new pg.DatabaseError(title, 1, 'error'), { code: '42P01', detail: title }),
      ),
    ),
  })
  const id = `😀é${randomUUID()}`
  const headers = bearer(await mint({ sub: id }))

  await app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } })
  t.equal(lines()[0]?.err?.message, title, 'the message is kept')
  t.equal(lines()[1]?.user_id, id, 'the user id is kept')
  await app.inject({ url: `/${encodeURIComponent(title.slice(0, -2))}`, headers })
  t.equal(decodeURIComponent(lines()[2]?.path ?? ''), `/${title.slice(0, -2)}`, 'the path is kept')
  app.log.info({ title, [title]: { nested: [title] } }, title)
  t.match(lines()[3], { title, msg: title }, 'values are kept')
  t.same((lines()[3] as never)[title], { nested: [title] }, 'names are kept')
  for (const text of texts) t.match(text, /^[\x20-\x7e]+\n$/, 'a line of ASCII')
  t.equal(texts.length, 4, 'one line for each')
})

t.test('a request id', async (t) => {
  const { app, texts, lines } = await logged(t)
  const idOf = async (given?: string) => {
    texts.length = 0
    const headers = given === undefined ? {} : { 'x-request-id': given }
    const { headers: answer } = await app.inject({ url: '/health', headers })
    t.equal(lines()[0]?.request_id, answer['x-request-id'], 'the log and the answer have the same id')
    return answer['x-request-id']
  }

  t.test('is kept if it is safe', async (t) => {
    for (const id of [
      'x',
      randomUUID(),
      '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      'Root=1-67891233-abcdef012345678912345678',
      'a'.repeat(128),
    ])
      t.equal(await idOf(id), id, `${id} is kept`)
  })

  t.test('is replaced if it is not', async (t) => {
    const made = new Set<unknown>()
    const wrong = [
      undefined,
      '',
      ' ',
      'two words',
      'a'.repeat(129),
      'a\r\nX-Injected: b',
      'a\nb',
      'a\tb',
      'a"b',
      'a\\b',
      '<script>',
      '{}',
      'é',
      '😀',
      '\u202e',
    ]
    for (const given of wrong) {
      const id = await idOf(given)
      t.match(id, /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/, JSON.stringify(given))
      made.add(id)
    }
    t.equal(made.size, wrong.length, 'each is new')
  })
})

t.test('a refused login is logged with its code and reason', async (t) => {
  const { app, texts, lines } = await logged(t)
  const now = Math.floor(Date.now() / 1000)
  const refusals: [code: string, reason: RegExp | undefined, credential: string | undefined][] = [
    ['missing_token', undefined, undefined],
    ['missing_token', undefined, 'Basic dXNlcjpwYXNz'],
    ['invalid_token', /three/, 'Bearer nonsense'],
    ['invalid_token', /more than one/, 'Bearer a b'],
    ['invalid_token', /signature/i, `Bearer ${await mint({ sub: 'u' }, 'z'.repeat(32))}`],
    ['invalid_token', /nbf/, `Bearer ${await mint({ sub: 'u', nbf: now + 600 })}`],
    ['invalid_token', /subject/, `Bearer ${await mint({ sub: 'a', user_id: 'b' })}`],
    ['token_expired', undefined, `Bearer ${await mint({ sub: 'u', exp: now - 600 })}`],
    ['missing_user_id', undefined, `Bearer ${await mint({})}`],
  ]
  for (const [code, reason, authorization] of refusals) {
    texts.length = 0
    await app.inject({ url: '/todos', headers: authorization ? { authorization } : {} })
    t.equal(texts.length, 1, `${code}: one line`)
    t.match(lines()[0], { status: 401, code, ...(reason && { reason }) }, `${code}: the code and the reason`)
    t.equal(lines()[0]?.user_id, undefined, `${code}: no user`)
  }
})

const base64url = (text: string) => Buffer.from(text).toString('base64url')

t.test('nothing private in a busy run', async (t) => {
  const { app, texts } = await logged(t, { env: { LOG_LEVEL: 'trace' } })
  const user = await identity()
  const wrong = await mint({ sub: 'u' }, 'another-4bT9vX2mK7wR1zN8cJ5hL3pF6s')
  const expired = await mint({ sub: 'u', exp: 1 })
  const claim = 'claim-of-a-broken-token'
  const header = base64url('{"alg":"HS256"}')
  const notJson = `${header}.${base64url(`${claim} {`)}.${base64url('signature')}`
  const noHeader = `${base64url(`${claim} {`)}.${base64url(`{"sub":"${claim}"}`)}.${base64url('signature')}`
  const unlikely = ['hunter2-hunter2', 'session-of-ada', 'key-in-the-query', 'title-of-ada']
  const [password, cookie, query, title] = unlikely as [string, string, string, string]

  const tokens = [user.token, wrong, expired, notJson, noHeader]
  for (const credential of [
    ...tokens.map((token) => `Bearer ${token}`),
    user.token,
    `Basic ${base64url(`ada:${password}`)}`,
    `Bearer ${user.token} ${password}`,
    `Bearer ${user.token}x`,
    `Bearer ${user.token.slice(0, -1)}`,
  ]) {
    const headers = {
      authorization: credential,
      cookie: `session=${cookie}`,
      'content-type': 'application/json',
      'x-api-key': query,
    }
    for (const url of ['/todos', '/todos/1', '/me', '/nowhere', '/api/another/tasks', '/%E0%A4%A']) {
      const at = `${url}?token=${user.token}&key=${query}`
      for (const payload of [
        { title, password, token: user.token },
        { title },
        `{"password":"${password}"`,
        `{"__proto__":"${password}"}`,
        JSON.stringify({ title: { password } }),
      ]) {
        for (const method of ['POST', 'PATCH', 'PUT'] as const)
          await app.inject({ method, url: at, headers, payload })
      }
      for (const method of ['GET', 'DELETE', 'OPTIONS'] as const)
        await app.inject({ method, url: at, headers })
    }
    const login = { email: user.email, password, name: 'Ada' }
    for (const url of ['/api/auth/signin', '/api/auth/signup', '/api/auth/refresh'])
      await app.inject({ method: 'POST', url, headers, payload: login })
  }
  app.log.info({ password, headers: { authorization: user.token, cookie }, a: { b: { token: user.token } } })

  const all = texts.join('')
  t.ok(texts.length > 1000, 'the run was busy')
  const parts = tokens.flatMap((token) => token.split('.').slice(1))
  for (const text of [SECRET, base64url(SECRET), ...tokens, ...parts, ...unlikely, claim])
    t.notOk(all.includes(text), text)
  t.notMatch(all, /bearer |basic |[?&](token|key)=/i, 'no credential and no token in a query')
  t.notMatch(all, new RegExp(base64url(`ada:${password}`)), 'no password of Basic')
  for (const piece of pieces(claim, 8)) t.notOk(all.includes(piece), `no part of a claim: ${piece}`)
})

function pieces(text: string, length: number): string[] {
  return Array.from({ length: text.length - length + 1 }, (_, i) => text.slice(i, i + length))
}

t.test('a failure before there is a request is logged too', async (t) => {
  const { app, texts, lines } = await logged(t)
  const { port } = await serve(app)
  for (const [status, code, bytes] of [
    [400, 'malformed_request', 'hello\r\n\r\n'],
    [431, 'headers_too_large', `GET / HTTP/1.1\r\nX: ${'x'.repeat(32 * 1024)}\r\n\r\n`],
  ] as const) {
    texts.length = 0
    const { headers } = await exchange(port, bytes)
    const request_id = headers['x-request-id'] as string
    t.match(lines(), [{ msg: 'request', status, code, request_id }], `${status} is logged with its id`)
  }
})

t.test('a client that goes away is no fault of the service', async (t) => {
  const { app, lines } = await logged(t)
  const { token } = await identity()
  const { port } = await serve(app)
  const socket = connect(port, '127.0.0.1')
  const head = [
    'POST /todos HTTP/1.1',
    'Host: a',
    `Authorization: Bearer ${token}`,
    'Content-Type: application/json',
  ]
  socket.write([...head, 'Content-Length: 100', '', '{"title":'].join('\r\n'))
  const [request] = await once(app.server, 'request')
  setTimeout(() => socket.destroy(), 50)
  await new Promise((resolve) => request.once('close', resolve))
  await new Promise((resolve) => setTimeout(resolve, 100))
  for (const { level, code } of lines()) {
    t.equal(level, 'info', 'the level is info')
    t.not(code, 'database_unavailable', 'the database is not to blame')
  }
})
