import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { mock } from 'node:test'
import { type BetterAuthOptions, betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { createAuthClient } from 'better-auth/client'
import { jwtClient } from 'better-auth/client/plugins'
import { toNodeHandler } from 'better-auth/node'
import { bearer as bearerTokens, jwt, type JwtOptions } from 'better-auth/plugins'
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import type { Task } from '../../schemas/task.ts'
import { build, mint, SECRET } from '../helper/app.ts'
import { bearer, listen, serve } from '../helper/http.ts'

const PREFIXES = [(id: string) => `/api/${id}/tasks`, () => '/todos']
const DATA = 'better-auth.session_data'
const APPS = [
  { name: 'keys', secret: undefined },
  { name: 'keys and secret', secret: SECRET },
]

const kid = (token: string) => decodeProtectedHeader(token).kid as string
const cookieCache = (strategy: 'compact' | 'jwt' | 'jwe') => ({ cookieCache: { enabled: true, strategy } })

type AuthOptions = Omit<BetterAuthOptions, 'baseURL'> & { baseURL?: string; jwt?: JwtOptions }

/** A Better Auth server on a port of its own, with its users in memory. */
async function startAuth(t: Test, { baseURL, jwt: jwtOptions, ...options }: AuthOptions = {}) {
  const server = createServer()
  const url = `http://127.0.0.1:${await listen(t, server)}`
  const base = url + (options.basePath ?? '/api/auth')
  const auth = betterAuth({
    baseURL: baseURL ?? url,
    secret: SECRET,
    database: memoryAdapter({ user: [], session: [], account: [], verification: [], jwks: [] }),
    // Its own password hash is slow on purpose, and not what is tested here.
    emailAndPassword: {
      enabled: true,
      password: { hash: async (text) => text, verify: async ({ hash, password }) => hash === password },
    },
    plugins: [jwt(jwtOptions), bearerTokens()],
    telemetry: { enabled: false },
    rateLimit: { enabled: false },
    logger: { disabled: true },
    ...options,
  })
  server.on('request', toNodeHandler(auth))
  const stop = async () => {
    if (!server.listening) return
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }

  async function get<T>(path: string, headers: Record<string, string> = {}): Promise<T> {
    const response = await fetch(base + path, { headers })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return (await response.json()) as T
  }

  /** A new user, signed in. */
  async function signUp() {
    const email = `${randomUUID()}@example.com`
    const response = await fetch(`${base}/sign-up/email`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: baseURL ?? url },
      body: JSON.stringify({ name: 'Ada', email, password: randomUUID() }),
    })
    if (!response.ok) throw new Error(`sign-up: ${response.status} ${await response.text()}`)
    const { user, token: session } = (await response.json()) as { user: { id: string }; token: string }
    const pairs = response.headers.getSetCookie().map((line) => (line.split(';', 1)[0] as string).split('='))
    const cookies = Object.fromEntries(pairs.map(([name, value]) => [name, value])) as Record<string, string>
    const cookie = Object.entries(cookies)
      .map((pair) => pair.join('='))
      .join('; ')
    const token = async (headers: Record<string, string> = { cookie }) =>
      (await get<{ token: string }>('/token', headers)).token
    return { id: user.id, email, session, cookies, cookie, token }
  }

  const keyIds = async () => (await get<{ keys: { kid: string }[] }>('/jwks')).keys.map(({ kid }) => kid)
  return { url, base, keyIds, signUp, stop }
}

/** A listening app that trusts the Better Auth server, and a way to call it. */
async function startApp(t: Test, env: Record<string, string | undefined>) {
  const app = await build(t, { env: { BETTER_AUTH_SECRET: undefined, ...env } })
  const { url: address } = await serve(app)
  return async (token: string, url: string, method = 'GET', body?: object) => {
    const response = await fetch(address + url, {
      method,
      headers: {
        ...bearer(token),
        'x-request-id': 'same',
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: JSON.parse(text) }
  }
}

type Call = Awaited<ReturnType<typeof startApp>>

async function accepts(t: Test, call: Call, token: string, message = 'is accepted') {
  const { status, json } = await call(token, '/me')
  t.same({ status, user: json.user_id }, { status: 200, user: decodeJwt(token).sub }, message)
}

async function refuses(t: Test, call: Call, token: string, message = 'is refused', code = 'invalid_token') {
  const { status, json, headers } = await call(token, '/me')
  t.same({ status, code: json.code }, { status: 401, code }, message)
  t.match(headers.get('www-authenticate'), /^Bearer .*error="invalid_token"/, `${message}: a challenge`)
}

/** Stops the clock; from here on only the test moves it, in seconds. */
function stopClock(t: Test) {
  mock.timers.enable({ apis: ['Date'], now: Date.now() })
  t.teardown(() => mock.timers.reset())
  return (seconds: number) => mock.timers.tick(seconds * 1000)
}

for (const prefix of PREFIXES) {
  t.test(`the life of a task under ${prefix(':user_id')}`, async (t) => {
    const auth = await startAuth(t)
    const call = await startApp(t, { BETTER_AUTH_URL: auth.url })
    const user = await auth.signUp()
    const token = await user.token()
    const url = prefix(user.id)

    const created = await call(token, url, 'POST', { title: 'Buy milk' })
    t.equal(created.status, 201, 'POST is 201')
    const task: Task = created.json
    const at = `${url}/${task.id}`
    t.equal(created.headers.get('location'), at, 'Location is its path')
    t.match(task, { user_id: user.id, title: 'Buy milk', completed: false }, 'the task is as sent')
    t.same((await call(token, url)).json, [task], 'the list has it')
    t.same((await call(token, at)).json, task, 'GET gives the same')
    t.match(
      (await call(token, at, 'PATCH', { title: 'Buy oat milk' })).json,
      { title: 'Buy oat milk' },
      'PATCH changes it',
    )
    t.match(
      (await call(token, `${at}/toggle`, 'PATCH')).json,
      { title: 'Buy oat milk', completed: true },
      'toggle completes',
    )
    t.match((await call(token, `${at}/toggle`, 'PATCH')).json, { completed: false }, 'toggle undoes it')
    t.match(
      (await call(token, `${at}/complete`, 'PATCH', { completed: true })).json,
      { completed: true },
      'complete completes',
    )
    t.match(
      (await call(token, `${url}/stats`)).json,
      { total: 1, completed: 1, pending: 0 },
      'stats count it',
    )
    t.equal(
      (await call(token, `${url}?count=true`)).headers.get('x-total-count'),
      '1',
      'the count is in a header',
    )
    t.same((await call(token, at, 'DELETE')).json, { message: 'Task deleted successfully' }, 'DELETE says so')
    t.equal((await call(token, at)).status, 404, 'it is gone')
    t.same((await call(token, url)).json, [], 'the list is empty')
  })
}

t.test('every way to get a token leads to the same user', async (t) => {
  const auth = await startAuth(t)
  const call = await startApp(t, { BETTER_AUTH_URL: auth.url })
  const user = await auth.signUp()
  const client = createAuthClient({
    baseURL: auth.url,
    fetchOptions: { headers: { cookie: user.cookie } },
    plugins: [jwtClient()],
  })
  const session = await fetch(`${auth.base}/get-session`, { headers: { cookie: user.cookie } })
  const tokens = {
    cookie: await user.token(),
    bearer: await user.token(bearer(user.session)),
    client: (await client.token()).data?.token as string,
    header: session.headers.get('set-auth-jwt') as string,
  }
  for (const [name, token] of Object.entries(tokens)) {
    const { status, json } = await call(token, '/me')
    t.equal(status, 200, name)
    t.same(json, { user_id: user.id, email: user.email, authenticated: true }, name)
  }
})

t.test('the address of the server is read as Better Auth reads it', async (t) => {
  for (const [basePath, suffixes] of [
    ['/api/auth', ['', '/', '/api/auth', '/api/auth/']],
    ['/auth', ['/auth']],
  ] as const) {
    const auth = await startAuth(t, { basePath })
    const token = await (await auth.signUp()).token()
    for (const suffix of suffixes) {
      const call = await startApp(t, { BETTER_AUTH_URL: auth.url + suffix })
      await accepts(t, call, token, `${basePath}: ${suffix}`)
    }
  }
})

t.test('a public name in tokens, an internal address for the keys', async (t) => {
  const baseURL = 'https://app.example.com'
  const auth = await startAuth(t, { baseURL })
  const token = await (await auth.signUp()).token()
  t.match(decodeJwt(token), { iss: baseURL, aud: baseURL }, 'the token has the public name')
  const keys = { JWKS_URL: `${auth.base}/jwks` }
  await accepts(t, await startApp(t, { ...keys, BETTER_AUTH_URL: `${baseURL}/` }), token)
  await accepts(t, await startApp(t, { ...keys, JWT_ISSUER: baseURL, JWT_AUDIENCE: baseURL }), token)
  await refuses(t, await startApp(t, { BETTER_AUTH_URL: auth.url }), token, 'issued under another name')
})

t.test('a second user sees nothing of the first', async (t) => {
  const auth = await startAuth(t)
  const call = await startApp(t, { BETTER_AUTH_URL: auth.url })
  const first = await auth.signUp()
  const firstToken = await first.token()
  const task: Task = (await call(firstToken, '/todos', 'POST', { title: 'mine' })).json
  const second = await auth.signUp()
  const token = await second.token()
  const missing = task.id + 1_000_000

  for (const prefix of PREFIXES) {
    const url = prefix(second.id)
    t.same((await call(token, url)).json, [], `${url}: nothing listed`)
    t.match((await call(token, `${url}/stats`)).json, { total: 0 }, `${url}: nothing counted`)
    for (const [method, path, body] of [
      ['GET', ''],
      ['PUT', '', { title: 'stolen' }],
      ['PATCH', '', { title: 'stolen' }],
      ['PATCH', '/toggle'],
      ['PATCH', '/complete', { completed: true }],
      ['DELETE', ''],
    ] as const) {
      const foreign = await call(token, `${url}/${task.id}${path}`, method, body)
      t.equal(foreign.status, 404, `${method} ${path}`)
      t.equal(
        foreign.text,
        (await call(token, `${url}/${missing}${path}`, method, body)).text,
        `${method} ${path}: the same bytes as for a task that never existed`,
      )
    }
  }
  for (const [method, path] of [
    ['GET', ''],
    ['POST', ''],
    ['GET', '/stats'],
    ['GET', `/${task.id}`],
    ['DELETE', `/${task.id}`],
  ] as const) {
    const body = method === 'POST' ? { title: 'x' } : undefined
    const { status, json } = await call(token, `/api/${first.id}/tasks${path}`, method, body)
    t.same({ status, code: json.code }, { status: 403, code: 'forbidden' }, `${method} ${path}`)
  }
  t.same((await call(firstToken, '/todos')).json, [task], 'nothing changed')
})

for (const alg of ['EdDSA', 'ES256', 'ES512', 'RS256', 'PS256'] as const) {
  t.test(`${alg} keys`, async (t) => {
    const auth = await startAuth(t, { jwt: { jwks: { keyPairConfig: { alg } } } })
    const call = await startApp(t, { BETTER_AUTH_URL: auth.url })
    const token = await (await auth.signUp()).token()
    t.equal(decodeProtectedHeader(token).alg, alg, `it is signed with ${alg}`)
    await accepts(t, call, token)
    const [head, payload, signature] = token.split('.') as [string, string, string]
    const forged = (signature.startsWith('A') ? 'B' : 'A') + signature.slice(1)
    await refuses(t, call, `${head}.${payload}.${forged}`, 'another signature')
  })
}

t.test('keys are rotated while both run', async (t) => {
  const tick = stopClock(t)
  const auth = await startAuth(t, { jwt: { jwks: { rotationInterval: 60, gracePeriod: 120 } } })
  const call = await startApp(t, { BETTER_AUTH_URL: auth.url })
  const user = await auth.signUp()

  const first = await user.token()
  await accepts(t, call, first)
  tick(61)
  const second = await user.token()
  t.not(kid(second), kid(first), 'a new key signs')
  await accepts(t, call, second, 'a new key works at once')
  await accepts(t, call, first, 'and so does the old one')

  tick(120)
  const third = await user.token()
  t.same(await auth.keyIds(), [kid(second), kid(third)], 'the first key is no longer published')
  await accepts(t, call, first, 'which is not known here yet')
  await accepts(t, call, third)
  await refuses(t, call, first, 'and now it is')
  await accepts(t, call, second)
  tick(601)
  const fourth = await user.token() // until it has a key again, Better Auth publishes none: known ones then stay
  t.same(await auth.keyIds(), [kid(fourth)], 'the second key is no longer published')
  await refuses(t, call, second, 'a key is trusted for ten minutes after it was last seen')
})

t.test('a key made just after the keys were fetched works 30 seconds later', async (t) => {
  const tick = stopClock(t)
  const auth = await startAuth(t, { jwt: { jwks: { rotationInterval: 10 } } })
  const call = await startApp(t, { BETTER_AUTH_URL: auth.url })
  const user = await auth.signUp()
  const first = await user.token()
  await accepts(t, call, first)
  tick(11)
  const second = await user.token()
  await refuses(t, call, second)
  tick(20)
  await accepts(t, call, second)
  await accepts(t, call, first)
})

t.test('the server goes away', async (t) => {
  const tick = stopClock(t)
  const auth = await startAuth(t, { jwt: { jwks: { rotationInterval: 60 } } })
  const call = await startApp(t, { BETTER_AUTH_URL: auth.url })
  const user = await auth.signUp()
  const known = await user.token()
  await accepts(t, call, known)
  tick(61)
  const unknown = await user.token()
  await auth.stop()

  await accepts(t, call, known)
  await refuses(t, call, unknown, 'a key that cannot be verified')
  await accepts(t, call, known)
  tick(601)
  await accepts(t, call, known, 'also when the keys must be fetched again')
  await refuses(t, call, unknown)

  const late = await startApp(t, { BETTER_AUTH_URL: auth.url })
  const { status, json } = await late(known, '/me')
  t.same({ status, code: json.code }, { status: 503, code: 'keys_unavailable' }, 'no key was ever fetched')
})

t.test('a token that expired', async (t) => {
  const tick = stopClock(t)
  const auth = await startAuth(t)
  const call = await startApp(t, { BETTER_AUTH_URL: auth.url })
  const token = await (await auth.signUp()).token()
  tick(15 * 60)
  await accepts(t, call, token, 'within the leeway')
  tick(30)
  await refuses(t, call, token, '15 minutes and 30 seconds old', 'token_expired')
})

t.test('another Better Auth server', async (t) => {
  const trusted = await startAuth(t)
  const call = await startApp(t, { BETTER_AUTH_URL: trusted.url })
  await accepts(t, call, await (await trusted.signUp()).token())
  const other = await startAuth(t)
  await refuses(t, call, await (await other.signUp()).token())
  const forService = await startAuth(t, { jwt: { jwt: { audience: 'https://api.example.com' } } })
  const token = await (await forService.signUp()).token()
  const env = { BETTER_AUTH_URL: forService.url }
  await refuses(t, await startApp(t, env), token, 'meant for somebody else')
  await accepts(t, await startApp(t, { ...env, JWT_AUDIENCE: 'https://api.example.com' }), token)
})

for (const { name, secret } of APPS) {
  t.test(`tokens that are not access tokens, with ${name}`, async (t) => {
    t.test('the session cookie and the session token', async (t) => {
      const auth = await startAuth(t)
      const call = await startApp(t, { BETTER_AUTH_URL: auth.url, BETTER_AUTH_SECRET: secret })
      const { session, cookies, token } = await auth.signUp()
      const value = cookies['better-auth.session_token'] as string
      t.ok(decodeURIComponent(value).startsWith(`${session}.`), 'the cookie holds the session token')
      await refuses(t, call, session)
      await refuses(t, call, value)
      await refuses(t, call, decodeURIComponent(value))
      await accepts(t, call, await token())
    })

    t.test('the cached session, signed with the secret', async (t) => {
      const auth = await startAuth(t, { session: cookieCache('jwt') })
      const call = await startApp(t, { BETTER_AUTH_URL: auth.url, BETTER_AUTH_SECRET: secret })
      const { id, cookies } = await auth.signUp()
      const value = cookies[DATA] as string
      const { payload } = await jwtVerify(value, new TextEncoder().encode(SECRET))
      t.match(payload, { user: { id } }, 'it is signed with the shared secret')
      await refuses(t, call, value, 'and has no subject', secret ? 'missing_user_id' : 'invalid_token')
    })

    t.test('the cached session, signed with the key that signs tokens', async (t) => {
      const auth = await startAuth(t, { session: cookieCache('jwt'), jwt: { sessionCookieCache: true } })
      const call = await startApp(t, { BETTER_AUTH_URL: auth.url, BETTER_AUTH_SECRET: secret })
      const { id, cookies, token } = await auth.signUp()
      const value = cookies[DATA] as string
      const { payload } = await jwtVerify(value, createRemoteJWKSet(new URL(`${auth.base}/jwks`)))
      t.match(payload, { sub: id, user: { id } }, 'it is signed with a published key')
      t.equal(kid(value), kid(await token()), 'the same key signs both')
      await refuses(t, call, value)
      await accepts(t, call, await token())
      const env = {
        BETTER_AUTH_URL: auth.url,
        BETTER_AUTH_SECRET: secret,
        JWT_AUDIENCE: payload.aud as string,
      }
      await refuses(t, await startApp(t, env), value, 'whatever its audience, it is of another type')
    })

    for (const strategy of ['compact', 'jwe'] as const) {
      t.test(`the cached session, ${strategy}`, async (t) => {
        const auth = await startAuth(t, { session: cookieCache(strategy) })
        const call = await startApp(t, { BETTER_AUTH_URL: auth.url, BETTER_AUTH_SECRET: secret })
        const value = (await auth.signUp()).cookies[DATA] as string
        t.ok(value.length > 100, 'there is a cookie')
        await refuses(t, call, value)
      })
    }

    t.test('the token of a verification mail', async (t) => {
      let mailed = ''
      const auth = await startAuth(t, {
        emailVerification: {
          sendOnSignUp: true,
          sendVerificationEmail: async ({ token }) => {
            mailed = token
          },
        },
      })
      const call = await startApp(t, { BETTER_AUTH_URL: auth.url, BETTER_AUTH_SECRET: secret })
      const { email } = await auth.signUp()
      const { payload } = await jwtVerify(mailed, new TextEncoder().encode(SECRET))
      t.match(payload, { email }, 'it holds the address')
      await refuses(t, call, mailed, 'a mail link', secret ? 'missing_user_id' : 'invalid_token')
    })
  })
}

t.test('tokens of both families side by side', async (t) => {
  const auth = await startAuth(t)
  const call = await startApp(t, { BETTER_AUTH_URL: auth.url, BETTER_AUTH_SECRET: SECRET })
  const user = await auth.signUp()
  const { id, email } = user
  const published = await user.token()
  const task: Task = (await call(published, '/todos', 'POST', { title: 'Buy milk' })).json

  for (const [claims, address] of [
    [{ user_id: id }, null],
    [{ sub: id }, null],
    [{ sub: id, user_id: id }, null],
    [{ user_id: id, email, name: 'Ada' }, email],
    [{ sub: id, email, name: 'Ada' }, email],
    [{ sub: id, user_id: id, email, name: 'Ada', iss: 'nextjs', aud: 'api' }, email],
  ] as const) {
    const token = await mint(claims)
    const message = Object.keys(claims).join(', ')
    t.same((await call(token, '/me')).json, { user_id: id, email: address, authenticated: true }, message)
    t.same((await call(token, `/api/${id}/tasks`)).json, [task], message)
    t.same((await call(token, '/todos')).json, [task], message)
  }
  await accepts(t, call, published)

  const stranger = await mint({ sub: 'somebody-else' })
  t.same((await call(stranger, '/todos')).json, [], 'a stranger has no tasks')
  t.equal((await call(stranger, `/todos/${task.id}`)).status, 404, 'a stranger does not find the task')
  await refuses(t, call, await mint({ sub: id }, `${SECRET}x`), 'another secret')
  await refuses(t, call, await mint({ sub: id, user_id: 'somebody-else' }), 'two subjects')

  const keys = (await (await fetch(`${auth.base}/jwks`)).json()) as { keys: [{ x: string }] }
  const confused = await new SignJWT({ sub: id })
    .setProtectedHeader({ alg: 'HS256', kid: kid(published) })
    .setExpirationTime('1h')
    .sign(Buffer.from(keys.keys[0].x, 'base64url'))
  await refuses(t, call, confused, 'a public key is not accepted as a secret')
})
