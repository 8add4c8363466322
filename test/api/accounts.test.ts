import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import bcrypt from 'bcrypt'
import { decodeJwt, jwtVerify } from 'jose'
import type { Response } from 'light-my-request'
import t from 'tap'
import type { Refresh, Session } from '../../schemas/account.ts'
import type { Task } from '../../schemas/task.ts'
import { buildApp } from '../../src/app.ts'
import type { Database, Step } from '../../src/database.ts'
import { type App, build, environment, identity, mint, SECRET } from '../helper/app.ts'
import { database } from '../helper/database.ts'

const PASSWORD = 'correct horse battery staple'
const OTHER_SECRET = 'Zk3vB8nQ5wY1xT6rM9cL2hJ7pF4sD0gA'
const JWKS_ONLY = { BETTER_AUTH_SECRET: undefined, BETTER_AUTH_URL: 'http://127.0.0.1:9' }
const DAY = 86_400

const person = () => ({ email: `${randomUUID()}@example.com`, password: PASSWORD, name: 'Ada' })
const keyOf = (secret: string) => new TextEncoder().encode(secret)
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const post = (app: App, action: string, payload: object, headers: Record<string, string> = {}) =>
  app.inject({ method: 'POST', url: `/api/auth/${action}`, payload, headers })
const refresh = (app: App, refresh_token: string) => post(app, 'refresh', { refresh_token } satisfies Refresh)
const erase = (app: App, headers: Record<string, string>, payload?: object) =>
  app.inject({ method: 'DELETE', url: '/me', headers, payload })
const dataOf = (response: Response) => response.json<Session>().data

/** An account of its own, signed in. */
async function signUp(app: App, { email, password, name } = person()) {
  const data = dataOf(await post(app, 'signup', { email, password, name }))
  return { ...data, email, password, headers: bearer(data.token) }
}

async function signIn(app: App, { email, password }: { email: string; password: string }) {
  return dataOf(await post(app, 'signin', { email, password }))
}

const shared = (sql: string, ...parameters: unknown[]): Step => ({
  userId: '',
  role: 'taskward_service',
  name: '',
  sql,
  parameters,
})

async function rows(sql: string, ...parameters: unknown[]) {
  const [found] = await (await database()).run([shared(sql, ...parameters)])
  return found as Record<string, string>[]
}

const tokensOf = (accountId: string) => rows('select * from refresh_tokens where account_id = $1', accountId)

async function addTasks(userId: string, count: number): Promise<void> {
  const sql = "insert into tasks (user_id, title) select $1, 'task ' || i from generate_series(1, $2::int) i"
  const step: Step = { userId, role: 'taskward_user', name: '', sql, parameters: [userId, count] }
  await (await database()).run([step])
}

const totalOf = async (app: App, headers: Record<string, string>) =>
  (await app.inject({ url: '/todos/stats', headers })).json<{ total: number }>().total

/** All that does not change from one answer to the next. */
const headersOf = ({ headers }: Response) =>
  Object.entries(headers).filter(([name]) => !/^(date|ratelimit-(remaining|reset))$/.test(name))
const refusal = (response: Response) => [response.statusCode, response.json<{ code: string }>().code]
const quantile = (values: number[], q: number) =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * q)] as number

t.test('sign-up, sign-in and what the token opens', async (t) => {
  const app = await build(t)
  const ada = person()
  const created = await post(app, 'signup', ada)
  t.equal(created.statusCode, 201)
  t.equal(created.headers['cache-control'], 'no-store')
  const { token, refresh_token, user } = dataOf(created)
  t.strictSame(created.json(), {
    success: true,
    data: { token, expires_in: 7 * DAY, refresh_token, user: { id: user.id, email: ada.email, name: 'Ada' } },
  })
  t.match(refresh_token, /^[\w-]{43}$/)

  const again = await post(app, 'signin', { email: ada.email, password: PASSWORD })
  t.equal(again.statusCode, 200)
  t.equal(again.headers['cache-control'], 'no-store')
  t.strictSame(dataOf(again).user, user)
  t.not(dataOf(again).refresh_token, refresh_token)

  for (const headers of [bearer(token), bearer(dataOf(again).token)]) {
    const made = await app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } })
    t.equal(made.json<Task>().user_id, user.id)
    t.equal((await app.inject({ url: `/api/${user.id}/tasks`, headers })).statusCode, 200)
    for (const url of ['/me', '/api/auth/me']) {
      t.strictSame((await app.inject({ url, headers })).json(), {
        user_id: user.id,
        email: ada.email,
        authenticated: true,
      })
    }
  }
})

t.test('the hyphenated names do the same', async (t) => {
  const app = await build(t)
  const ada = person()
  t.equal((await post(app, 'sign-up', ada)).statusCode, 201)
  const signedIn = await post(app, 'sign-in', { email: ada.email, password: PASSWORD })
  t.equal(signedIn.statusCode, 200)
  const { token, refresh_token } = dataOf(signedIn)
  const signedOut = await post(app, 'sign-out', {}, bearer(token))
  t.equal(signedOut.statusCode, 200)
  t.strictSame(signedOut.json(), { success: true })
  t.equal((await refresh(app, refresh_token)).statusCode, 401)
})

t.test('claims', async (t) => {
  for (const { name, env, seconds } of [
    { name: 'seven days by default', env: {}, seconds: 7 * DAY },
    { name: 'JWT_EXPIRATION_DAYS', env: { JWT_EXPIRATION_DAYS: '2' }, seconds: 2 * DAY },
    { name: 'half a day', env: { JWT_EXPIRATION_DAYS: '0.5' }, seconds: DAY / 2 },
    {
      name: 'ACCESS_TOKEN_EXPIRE_MINUTES wins',
      env: { JWT_EXPIRATION_DAYS: '2', ACCESS_TOKEN_EXPIRE_MINUTES: '15' },
      seconds: 900,
    },
  ]) {
    const app = await build(t, { env })
    const { token, expires_in, user, email } = await signUp(app)
    const { payload, protectedHeader } = await jwtVerify(token, keyOf(SECRET))
    t.match(payload, { sub: user.id, user_id: user.id, email, name: 'Ada' }, name)
    t.equal(protectedHeader.alg, 'HS256')
    t.equal((payload.exp as number) - (payload.iat as number), seconds, name)
    t.ok(Math.abs((payload.iat as number) - Date.now() / 1000) < 60)
    t.equal(expires_in, seconds, name)
  }
})

t.test('a token has an end, however short the setting', async (t) => {
  const app = await build(t, { env: { ACCESS_TOKEN_EXPIRE_MINUTES: '0.001' } })
  const { token, headers } = await signUp(app)
  t.type(decodeJwt(token).exp, 'number')
  t.equal((await app.inject({ url: '/me', headers })).statusCode, 200, 'within the leeway')
})

t.test('issuer and audience, where set, are in the tokens', async (t) => {
  const app = await build(t, { env: { JWT_ISSUER: 'https://issuer.example', JWT_AUDIENCE: 'tasks' } })
  const { token, headers } = await signUp(app)
  t.match(decodeJwt(token), { iss: 'https://issuer.example', aud: 'tasks' })
  t.equal((await app.inject({ url: '/me', headers })).statusCode, 200)
  const elsewhere = await signUp(await build(t))
  t.equal((await app.inject({ url: '/me', headers: elsewhere.headers })).statusCode, 401)
})

t.test('e-mail addresses', async (t) => {
  const app = await build(t)

  t.test('are unique, whatever their case', async (t) => {
    const ada = await signUp(app, { ...person(), email: `Ada.${randomUUID()}@Example.COM` })
    t.equal(ada.user.email, ada.email.toLowerCase())
    for (const email of [ada.email, ada.email.toLowerCase(), ada.email.toUpperCase()]) {
      const taken = await post(app, 'signup', { ...person(), email, password: 'another long password' })
      t.strictSame(refusal(taken), [400, 'email_taken'])
      t.equal((await signIn(app, { email, password: PASSWORD })).user.id, ada.user.id)
    }
    const rest = { email: ada.email, password: 'another long password' }
    t.strictSame(refusal(await post(app, 'signin', rest)), [401, 'invalid_credentials'])
  })

  t.test('of 20 sign-ups at once with one address, one succeeds', async (t) => {
    const ada = person()
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        post(app, 'signup', { ...ada, email: i % 2 ? ada.email : ada.email.toUpperCase() }),
      ),
    )
    t.equal(answers.filter(({ statusCode }) => statusCode === 201).length, 1)
    const others = answers.filter(({ statusCode }) => statusCode !== 201)
    t.ok(others.every((response) => String(refusal(response)) === '400,email_taken'))
    t.equal((await rows('select id from accounts where email = $1', ada.email)).length, 1)
    t.equal((await signIn(app, ada)).user.email, ada.email)
  })

  t.test('that cannot be one', async (t) => {
    const nul = `a\u0000${randomUUID()}@example.com`
    for (const email of ['', 'ada', 'ada@', '@example.com', 'a b@example.com', 'ada@example', nul, 1, null]) {
      const response = await post(app, 'signup', { ...person(), email })
      t.equal(response.statusCode, 422, JSON.stringify(email))
    }
    for (const email of ['', 'ada', nul, 'half \ud800@example.com', "' or true --"]) {
      const { statusCode } = await post(app, 'signin', { email, password: PASSWORD })
      t.ok(statusCode === 401 || statusCode === 422, `${statusCode} ${JSON.stringify(email)}`)
    }
  })
})

t.test('passwords', async (t) => {
  const app = await build(t)

  for (const password of [
    'kq7#vLp2',
    'aé'.repeat(24),
    '€'.repeat(24),
    '  two spaces on both sides  ',
    '<script>"\'\\\t',
    'x1'.repeat(36),
  ]) {
    const ada = await signUp(app, { ...person(), password })
    t.ok(ada.token, `taken: ${JSON.stringify(password)}, ${Buffer.byteLength(password)} bytes`)
    const signedIn = await post(app, 'signin', { email: ada.email, password })
    t.equal(signedIn.statusCode, 200)
    for (const near of [`${password} `, password.slice(0, -1), password.toUpperCase()]) {
      if (near === password) continue
      t.strictSame(refusal(await post(app, 'signin', { email: ada.email, password: near })), [
        401,
        'invalid_credentials',
      ])
    }
  }

  for (const password of [
    '',
    'kq7#vLp',
    'x1'.repeat(36) + 'x',
    'é'.repeat(36) + 'x',
    '€'.repeat(24) + '\u00e9',
    '😀'.repeat(19),
    'with a \u0000 in it',
    'half a pair \ud800',
    'half a pair \udfff',
    'password123',
    'PassWord123',
    'QWERTYUIOP',
    'iloveyou1',
    12345678,
    null,
    ['kq7#vLp2'],
  ]) {
    const ada = person()
    const response = await post(app, 'signup', { ...ada, password })
    t.strictSame(refusal(response), [422, 'validation_failed'], JSON.stringify(password))
    t.strictSame(response.json().errors[0].loc, ['body', 'password'])
    t.equal((await rows('select id from accounts where email = $1', ada.email)).length, 0)
  }
})

t.test('what bcrypt would cut off counts', async (t) => {
  const app = await build(t)
  const password = 'é'.repeat(36)
  const { email } = await signUp(app, { ...person(), password })
  t.equal((await post(app, 'signin', { email, password })).statusCode, 200)
  for (const longer of [`${password}x`, `${password}é`, 'é'.repeat(64)]) {
    const response = await post(app, 'signin', { email, password: longer })
    t.strictSame(refusal(response), [401, 'invalid_credentials'], `${Buffer.byteLength(longer)} bytes`)
  }
})

t.test('unknown fields and missing ones', async (t) => {
  const app = await build(t)
  const { email, password, name } = person()
  for (const payload of [
    { email, password },
    { email, name },
    { password, name },
    { email, password, name, id: 'x' },
    { email, password, name, active: true },
    { email, password, name: '' },
    { email, password, name: 'a\nb' },
    [],
  ]) {
    t.equal((await post(app, 'signup', payload)).statusCode, 422, JSON.stringify(payload))
  }
  t.equal((await post(app, 'signin', { email })).statusCode, 422)
  t.equal((await post(app, 'signin', { email, password, name })).statusCode, 422)
})

t.test('a wrong password and an unknown account look the same', async (t) => {
  const app = await build(t, { env: { BCRYPT_COST: '8' } })
  const { email } = await signUp(app)
  const attempt = (email: string, password = 'not the password') =>
    post(app, 'signin', { email, password }, { 'x-request-id': 'same' })

  const [wrong, unknown] = [await attempt(email), await attempt(person().email)]
  t.equal(wrong.statusCode, 401)
  t.match(wrong.json(), { detail: 'Invalid email or password', code: 'invalid_credentials' })
  t.equal(wrong.headers['www-authenticate'], 'Bearer realm="taskward"')
  t.equal(unknown.statusCode, wrong.statusCode)
  t.equal(unknown.body, wrong.body)
  t.strictSame(headersOf(unknown), headersOf(wrong))

  const long = 'é'.repeat(60)
  t.equal((await attempt(email, long)).body, (await attempt(person().email, long)).body)

  const times: Record<'wrong' | 'unknown', number[]> = { wrong: [], unknown: [] }
  while (Math.min(times.wrong.length, times.unknown.length) < 60) {
    const kind = Math.random() < 0.5 ? 'wrong' : 'unknown'
    const address = kind === 'wrong' ? email : person().email
    const started = performance.now()
    await attempt(address)
    times[kind].push(performance.now() - started)
  }
  const medians = [quantile(times.wrong, 0.5), quantile(times.unknown, 0.5)] as const
  const quarters = [times.wrong, times.unknown].map((all) =>
    [0.25, 0.75].map((q) => quantile(all, q).toFixed(2)).join('–'),
  )
  // Mann and Whitney's U as a share of all pairs: 0.5 where the two cannot be told apart.
  const pairs = times.wrong.flatMap((a) =>
    times.unknown.map((b) => (a > b ? 1 : a === b ? 0.5 : 0) as number),
  )
  const share = pairs.reduce((sum, pair) => sum + pair, 0) / pairs.length
  t.comment(
    `median ${medians[0].toFixed(2)} ms (${quarters[0]}) for a wrong password, ` +
      `${medians[1].toFixed(2)} ms (${quarters[1]}) for an unknown account; P(wrong > unknown) ${share.toFixed(2)}`,
  )
  t.ok(Math.max(...medians) < 3 * Math.min(...medians))
})

t.test('accounts and users that are blocked', async (t) => {
  const app = await build(t)

  t.test('an inactive account', async (t) => {
    const ada = await signUp(app)
    await rows('update accounts set active = false where id = $1', ada.user.id)
    t.strictSame(refusal(await post(app, 'signin', { email: ada.email, password: PASSWORD })), [
      400,
      'inactive_user',
    ])
    t.strictSame(refusal(await refresh(app, ada.refresh_token)), [400, 'inactive_user'])
    const wrong = await post(app, 'signin', { email: ada.email, password: 'not the password' })
    t.strictSame(refusal(wrong), [401, 'invalid_credentials'], 'is told only to those with the password')
  })

  t.test('tokens that say so, on every route that takes one', async (t) => {
    const { paths } = (await app.inject('/openapi.json')).json<{
      paths: Record<string, Record<string, { security?: object[] }>>
    }>()
    const routes = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations)
        .filter(([, { security }]) => security?.length)
        .map(([method]) => ({ path, method: method.toUpperCase() as 'GET' })),
    )
    t.ok(routes.length > 20)
    const id = `user-${randomUUID()}`
    for (const [claims, answer] of [
      [{ disabled: true }, [400, 'inactive_user']],
      [{ banned: true }, [403, 'banned']],
    ] as const) {
      const headers = bearer(await mint({ sub: id, ...claims }))
      for (const { path, method } of routes) {
        const url = path.replace('{user_id}', id).replace('{id}', '1')
        t.strictSame(refusal(await app.inject({ method, url, headers })), answer, `${method} ${path}`)
      }
    }
    const harmless = bearer(await mint({ sub: id, disabled: false, banned: false }))
    t.equal((await app.inject({ url: '/todos', headers: harmless })).statusCode, 200)
  })
})

t.test('secrets stay secret', async (t) => {
  const lines: string[] = []
  const app = await build(t, { env: { LOG_LEVEL: 'trace' }, onLog: (line) => lines.push(line) })
  const secret = 'vErY-pRiVaTe-7d1f'
  const email = person().email
  const signedUp = await post(app, 'signup', { email, password: secret, name: 'Ada' })
  const { token, refresh_token, user } = dataOf(signedUp)
  const answers = [
    await post(app, 'signup', { email, password: secret, name: 'Ada' }),
    await post(app, 'signin', { email, password: secret }),
    await post(app, 'signin', { email: person().email, password: secret }),
    await post(app, 'signin', { email, password: [secret] }),
    await post(app, 'signin', { email, password: secret, passwort: secret }),
    await post(app, 'signin', { email, password: `${secret}\u0000` }),
    await post(app, 'signup', { email, password: secret + 'é'.repeat(33), name: 'Ada' }),
    await app.inject({
      method: 'POST',
      url: `/api/auth/signin?password=${secret}`,
      headers: { 'content-type': 'application/json' },
      payload: `{"email":"${email}","password":"${secret}"x}`,
    }),
    await app.inject({
      method: 'POST',
      url: '/api/auth/signin',
      headers: { 'content-type': 'text/plain' },
      payload: secret,
    }),
    await app.inject({
      method: 'DELETE',
      url: '/me',
      headers: bearer(token),
      payload: { password: 'wrong' },
    }),
    await app.inject({ url: '/me/export', headers: bearer(token) }),
    await app.inject({ url: '/me', headers: bearer(`${token}x`) }),
  ]
  answers.push(await post(app, 'signout', {}, bearer(token)), await refresh(app, refresh_token))
  const second = await post(app, 'signin', { email, password: secret })
  const rotated = await refresh(app, dataOf(second).refresh_token)
  t.equal(rotated.statusCode, 200)

  const [account] = await rows('select * from accounts where id = $1', user.id)
  t.match(account?.password, /^\$2[ab]\$04\$[./\w]{53}$/)
  t.ok(await bcrypt.compare(secret, account?.password ?? ''))

  const told = [signedUp, ...answers, second, rotated].map(
    ({ body, headers }) => body + JSON.stringify(headers),
  )
  for (const text of [secret, account?.password ?? '$2']) t.notOk(told.some((body) => body.includes(text)))

  const log = lines.join('')
  t.match(log, /"status":401/)
  for (const [what, text] of Object.entries({
    password: secret,
    'part of it': secret.slice(0, 8),
    hash: account?.password ?? '',
    token,
    'refresh token': refresh_token,
    'next refresh token': dataOf(rotated).refresh_token,
  })) {
    t.notOk(log.includes(text), `no line of the log holds the ${what}`)
  }

  const kept = await tokensOf(user.id)
  const hash = createHash('sha256').update(dataOf(rotated).refresh_token).digest('hex')
  t.ok(kept.some((row) => row.hash === hash))
  t.ok(kept.every((row) => /^[0-9a-f]{64}$/.test(String(row.hash))))
  t.notOk(JSON.stringify(kept).includes(dataOf(rotated).refresh_token), 'refresh tokens are kept as hashes')
})

t.test('refresh', async (t) => {
  const app = await build(t)

  t.test('gives the next token and the next refresh token', async (t) => {
    const ada = await signUp(app)
    let { refresh_token } = ada
    for (let i = 0; i < 3; i++) {
      const response = await refresh(app, refresh_token)
      t.equal(response.statusCode, 200)
      t.equal(response.headers['cache-control'], 'no-store')
      const data = dataOf(response)
      t.strictSame(data.user, ada.user)
      t.not(data.refresh_token, refresh_token)
      t.equal((await app.inject({ url: '/todos', headers: bearer(data.token) })).statusCode, 200)
      refresh_token = data.refresh_token
    }
  })

  t.test('with a spent one ends all that came from that sign-in, and nothing else', async (t) => {
    const ada = await signUp(app)
    const phone = await signIn(app, ada)
    const next = dataOf(await refresh(app, ada.refresh_token)).refresh_token
    const response = await refresh(app, ada.refresh_token)
    t.strictSame(refusal(response), [401, 'invalid_refresh_token'])
    t.equal(response.headers['www-authenticate'], 'Bearer realm="taskward"')
    t.equal((await refresh(app, next)).statusCode, 401, 'the new one died too')
    t.equal((await refresh(app, phone.refresh_token)).statusCode, 200, 'the other sign-in lives')
  })

  t.test('ten at once with one token give one at most', async (t) => {
    for (let i = 0; i < 5; i++) {
      const ada = await signUp(app)
      const answers = await Promise.all(Array.from({ length: 10 }, () => refresh(app, ada.refresh_token)))
      const given = answers.filter(({ statusCode }) => statusCode === 200)
      t.ok(given.length <= 1)
      t.ok(answers.every(({ statusCode }) => statusCode === 200 || statusCode === 401))
      for (const response of given) {
        t.equal((await refresh(app, dataOf(response).refresh_token)).statusCode, 401, 'the token was stolen')
      }
    }
  })

  t.test('garbage', async (t) => {
    const { token } = await signUp(app)
    for (const refresh_token of ['x', 'é\u0000\ud800', "' or true --", 'x'.repeat(128)]) {
      t.strictSame(refusal(await refresh(app, refresh_token)), [401, 'invalid_refresh_token'])
    }
    for (const refresh_token of ['', 'x'.repeat(129), token, 1, null, [], {}]) {
      t.equal((await post(app, 'refresh', { refresh_token })).statusCode, 422)
    }
    t.equal((await post(app, 'refresh', {})).statusCode, 422)
  })

  t.test('an access token is no refresh token, and the other way round', async (t) => {
    const { refresh_token } = await signUp(app)
    t.equal((await app.inject({ url: '/todos', headers: bearer(refresh_token) })).statusCode, 401)
  })

  t.test('expires', async (t) => {
    const brief = await build(t, { env: { REFRESH_TOKEN_EXPIRATION_DAYS: '0.000001' } })
    const { refresh_token } = await signUp(brief)
    await sleep(200)
    t.strictSame(refusal(await refresh(brief, refresh_token)), [401, 'invalid_refresh_token'])
  })

  t.test('lasts thirty days', async (t) => {
    const { user } = await signUp(app)
    const [token] = await rows(
      `select extract(epoch from expires_at - now()) / ${DAY} as days from refresh_tokens where account_id = $1`,
      user.id,
    )
    t.ok(Math.abs(Number(token?.days) - 30) < 0.1)
  })

  t.test('the sweep takes the expired ones alone', async (t) => {
    await app.accounts?.sweep()
    const ada = await signUp(app)
    const [phone, laptop] = [await signIn(app, ada), await signIn(app, ada)]
    await refresh(app, laptop.refresh_token)
    const hash = createHash('sha256').update(phone.refresh_token).digest('hex')
    await rows("update refresh_tokens set expires_at = now() - interval '1 second' where hash = $1", hash)
    t.equal(await app.accounts?.sweep(), 1)
    const left = await tokensOf(ada.user.id)
    t.equal(left.length, 3, 'also those that are spent, by which theft is seen')
    t.notOk(left.some((row) => row.hash === hash))
    t.equal((await refresh(app, ada.refresh_token)).statusCode, 200)
  })
})

t.test('sign-out', async (t) => {
  const app = await build(t)
  const ada = await signUp(app)
  const phone = await signIn(app, ada)
  const rotated = dataOf(await refresh(app, ada.refresh_token))
  for (const headers of [{}, bearer('x'), bearer(ada.refresh_token)]) {
    t.equal((await post(app, 'signout', {}, headers as Record<string, string>)).statusCode, 401)
  }
  const response = await app.inject({ method: 'POST', url: '/api/auth/signout', headers: ada.headers })
  t.equal(response.statusCode, 200, 'without a body')
  t.strictSame(response.json(), { success: true })
  t.equal(
    (await refresh(app, rotated.refresh_token)).statusCode,
    401,
    'and with an earlier token of the sign-in',
  )
  t.equal((await post(app, 'signout', {}, ada.headers)).statusCode, 200, 'twice is harmless')
  t.equal((await refresh(app, phone.refresh_token)).statusCode, 200, 'the other sign-in lives')

  const stranger = await signUp(app)
  const { sid } = decodeJwt(stranger.token)
  const forged = bearer(await mint({ sub: ada.user.id, sid }))
  t.equal((await post(app, 'signout', {}, forged)).statusCode, 200)
  t.equal((await refresh(app, stranger.refresh_token)).statusCode, 200, "a stranger's sign-in lives")
  t.equal((await post(app, 'signout', {}, (await identity()).headers)).statusCode, 200, 'for Better Auth too')
})

t.test('what ends a sign-in also ends a refresh that is under way', async (t) => {
  const db = await database()
  let held = false
  const run: Database['run'] = (steps) => {
    const hold = held && steps[0]?.sql.startsWith('with ')
    if (hold) held = false
    return db.run(hold ? [...steps, shared('select pg_sleep(0.5)')] : steps)
  }
  const app = await build(t, { database: { ...db, run } })

  for (const { name, end } of [
    { name: 'sign-out', end: (token: string, _spent: string) => post(app, 'signout', {}, bearer(token)) },
    { name: 'theft', end: (_token: string, spent: string) => refresh(app, spent) },
  ]) {
    const ada = await signUp(app)
    const current = dataOf(await refresh(app, ada.refresh_token))
    held = true
    const underWay = refresh(app, current.refresh_token)
    await sleep(150)
    await end(current.token, ada.refresh_token)
    const response = await underWay
    if (response.statusCode === 200) {
      t.equal((await refresh(app, dataOf(response).refresh_token)).statusCode, 401, name)
    }
    t.strictSame(await tokensOf(ada.user.id), [], name)
  }
})

t.test('where there are no local accounts', async (t) => {
  const ACTIONS = ['signup', 'sign-up', 'signin', 'sign-in', 'refresh', 'signout', 'sign-out']
  for (const [env, why] of [
    [{ LOCAL_AUTH: 'off' }, 'LOCAL_AUTH=off'],
    [JWKS_ONLY, 'no BETTER_AUTH_SECRET and no LOCAL_AUTH_SECRET to sign with'],
  ] as const) {
    const lines: string[] = []
    const app = await build(t, { env, onLog: (line) => lines.push(line) })
    t.ok(
      lines.some((line) => JSON.parse(line).msg === `local accounts are off: ${why}`),
      why,
    )
    for (const action of ACTIONS) {
      t.strictSame(refusal(await post(app, action, person())), [404, 'not_found'], action)
    }
    const { paths } = (await app.inject('/openapi.json')).json<{ paths: object }>()
    t.strictSame(
      Object.keys(paths).filter((path) => path.startsWith('/api/auth/')),
      ['/api/auth/me'],
    )
  }

  const off = await build(t, { env: { LOCAL_AUTH: 'off' } })
  const { id, headers } = await identity()
  await addTasks(id, 2)
  const exported = await off.inject({ url: '/me/export', headers })
  t.match(exported.json(), { user: { id }, account: null })
  t.equal(exported.json().tasks.length, 2)
  t.equal((await off.inject({ method: 'DELETE', url: '/me', headers })).statusCode, 200)
  t.equal(await totalOf(off, headers), 0)

  const on = { ...environment, ...JWKS_ONLY, LOCAL_AUTH: 'on' }
  await t.rejects(buildApp({ env: on, database: await database() }), {
    message: /^LOCAL_AUTH_SECRET must be set/,
  })
})

t.test('LOCAL_AUTH_SECRET signs, and verifies beside the others', async (t) => {
  const app = await build(t, { env: { LOCAL_AUTH_SECRET: OTHER_SECRET } })
  const { token, headers } = await signUp(app)
  await t.resolves(jwtVerify(token, keyOf(OTHER_SECRET)))
  await t.rejects(jwtVerify(token, keyOf(SECRET)))
  t.equal((await app.inject({ url: '/todos', headers })).statusCode, 200)
  t.equal((await app.inject({ url: '/todos', headers: (await identity()).headers })).statusCode, 200)
  const unknown = bearer(await mint({ sub: 'x' }, OTHER_SECRET.toLowerCase()))
  t.equal((await app.inject({ url: '/todos', headers: unknown })).statusCode, 401)

  const alone = await build(t, {
    env: {
      ...JWKS_ONLY,
      LOCAL_AUTH_SECRET: OTHER_SECRET,
    },
  })
  const own = await signUp(alone)
  t.equal((await alone.inject({ url: '/todos', headers: own.headers })).statusCode, 200, 'beside a key set')
})

t.test('erasure', async (t) => {
  const app = await build(t)

  t.test('of a local account takes its password', async (t) => {
    const [ada, bob] = [await signUp(app), await signUp(app)]
    const phone = await signIn(app, ada)
    for (const { user } of [ada, bob]) await addTasks(user.id, 3)
    for (const payload of [undefined, {}, { password: 'not the password' }, { password: 'é'.repeat(60) }]) {
      t.strictSame(refusal(await erase(app, ada.headers, payload)), [401, 'invalid_credentials'])
    }
    t.equal((await erase(app, ada.headers, { password: '' })).statusCode, 422)
    t.equal((await erase(app, {}, { password: PASSWORD })).statusCode, 401, 'and a token')
    t.equal(await totalOf(app, ada.headers), 3)
    t.equal((await tokensOf(ada.user.id)).length, 2)

    const erased = await erase(app, ada.headers, { password: PASSWORD })
    t.equal(erased.statusCode, 200)
    t.strictSame(erased.json(), { message: 'Account deleted successfully' })
    t.equal(await totalOf(app, ada.headers), 0)
    t.strictSame(await rows('select id from accounts where id = $1', ada.user.id), [])
    t.strictSame(await tokensOf(ada.user.id), [])
    t.equal((await post(app, 'signin', { email: ada.email, password: PASSWORD })).statusCode, 401)
    for (const { refresh_token } of [ada, phone]) t.equal((await refresh(app, refresh_token)).statusCode, 401)

    t.equal(await totalOf(app, bob.headers), 3, 'others keep theirs')
    t.equal((await refresh(app, bob.refresh_token)).statusCode, 200)
    const anew = await signUp(app, { ...person(), email: ada.email })
    t.not(anew.user.id, ada.user.id, 'the address is free again')
  })

  t.test('is all or nothing', async (t) => {
    const db = await database()
    const ada = await signUp(app)
    await addTasks(ada.user.id, 3)
    for (const at of [0, 1, 2]) {
      let failed = 0
      const run: Database['run'] = (steps) => {
        if (steps.length < 2) return db.run(steps)
        failed += 1
        return db.run(steps.toSpliced(at, 0, shared('select 1 / 0')))
      }
      const broken = await build(t, { database: { ...db, run } })
      t.equal((await erase(broken, ada.headers, { password: PASSWORD })).statusCode, 500)
      t.equal(failed, 1, 'account and tasks go in one transaction')
      t.equal(await totalOf(app, ada.headers), 3)
      t.equal((await rows('select id from accounts where id = $1', ada.user.id)).length, 1)
      t.equal((await tokensOf(ada.user.id)).length, 1)
    }
    t.equal((await refresh(app, ada.refresh_token)).statusCode, 200)
  })

  t.test('of a Better Auth user takes the token alone', async (t) => {
    const [ada, bob] = [await identity(), await identity()]
    for (const { id } of [ada, bob]) await addTasks(id, 3)
    t.equal((await erase(app, ada.headers)).statusCode, 200)
    t.equal(await totalOf(app, ada.headers), 0)
    t.equal(await totalOf(app, bob.headers), 3)
    t.equal((await erase(app, ada.headers, { password: 'whatever' })).statusCode, 200, 'again')
  })
})

t.test('export', async (t) => {
  const app = await build(t)
  const [ada, bob] = [await signUp(app), await identity()]
  await addTasks(ada.user.id, 1200)
  await addTasks(bob.id, 2)

  const response = await app.inject({ url: '/me/export', headers: ada.headers })
  t.equal(response.statusCode, 200)
  t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
  t.equal(response.headers['cache-control'], 'no-store')
  const { user, account, tasks, ...rest } = response.json()
  t.strictSame(rest, {})
  t.strictSame(user, { id: ada.user.id, email: ada.email })
  t.match(account.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  t.strictSame(account, { ...ada.user, created_at: account.created_at }, 'no password, no hash')
  t.equal(new Set(tasks.map(({ id }: Task) => id)).size, 1200)
  t.ok(tasks.every(({ user_id }: Task) => user_id === ada.user.id))
  t.strictSame(tasks.slice(0, 100), (await app.inject({ url: '/todos', headers: ada.headers })).json())

  const other = (await app.inject({ url: '/me/export', headers: bob.headers })).json()
  t.match(other, { user: { id: bob.id, email: bob.email }, account: null })
  t.equal(other.tasks.length, 2)
  const none = await app.inject({ url: '/me/export', headers: (await identity()).headers })
  t.strictSame(none.json().tasks, [])
  t.equal((await app.inject('/me/export')).statusCode, 401)
})

/** How long a request takes that is sent every 20 ms until `done`, in milliseconds. */
async function sample(done: Promise<unknown>, request: () => Promise<Response>) {
  const answers: Promise<{ ms: number; status: number }>[] = []
  const once = async () => {
    const started = performance.now()
    const { statusCode: status } = await request()
    return { ms: performance.now() - started, status }
  }
  const timer = setInterval(() => answers.push(once()), 20)
  await done
  clearInterval(timer)
  return Promise.all(answers)
}

t.test('a flood of sign-ins does not stop the others', async (t) => {
  const app = await build(t, { env: { BCRYPT_COST: '11' } })
  const ada = await signUp(app)
  const attempts = Array.from({ length: 60 }, (_, i) => ({
    email: i % 3 ? ada.email : person().email,
    password: i % 3 === 1 ? PASSWORD : 'not the password',
  }))
  const flood = Promise.all(attempts.map((attempt) => post(app, 'signin', attempt)))
  const [signIns, health, todos] = await Promise.all([
    flood,
    sample(flood, () => app.inject('/health')),
    sample(flood, () => app.inject({ url: '/todos', headers: ada.headers })),
  ])

  const counts = Map.groupBy(signIns, ({ statusCode }) => statusCode)
  t.comment(
    `sign-ins by status: ${[...counts].map(([status, { length }]) => `${status}: ${length}`).join(', ')}`,
  )
  t.strictSame(
    [...counts.keys()].filter((status) => ![200, 401, 503].includes(status)),
    [],
  )
  t.ok(counts.has(200) && counts.has(401))
  for (const response of counts.get(503) ?? []) {
    t.match(response.headers['retry-after'], /^[1-9]\d*$/)
    t.equal(refusal(response)[1], 'busy')
  }
  for (const [name, answers] of Object.entries({ 'GET /health': health, 'GET /todos': todos })) {
    t.ok(answers.length > 0 && answers.every(({ status }) => status === 200), `${name} answered`)
    const times = answers.map(({ ms }) => ms)
    const [p50, p99] = [0.5, 0.99].map((q) => quantile(times, q).toFixed(1))
    t.comment(`${name}: ${times.length} requests, p50 ${p50} ms, p99 ${p99} ms`)
  }
})
