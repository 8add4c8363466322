import { randomUUID } from 'node:crypto'
import { decodeJwt, jwtVerify } from 'jose'
import t from 'tap'
import type { Task } from '../../schemas/task.ts'
import { buildApp } from '../../src/app.ts'
import {
  accountsWith,
  addTasks,
  DAY,
  dataOf,
  PASSWORD,
  person,
  post,
  refresh,
  rows,
  signIn,
  signUp,
  totalOf,
} from '../helper/accounts.ts'
import { build, environment, identity, mint, SECRET } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { bearer, refusal } from '../helper/http.ts'

const OTHER_SECRET = 'Zk3vB8nQ5wY1xT6rM9cL2hJ7pF4sD0gA'
const JWKS_ONLY = { BETTER_AUTH_SECRET: undefined, BETTER_AUTH_URL: 'http://127.0.0.1:9' }
const keyOf = (secret: string) => new TextEncoder().encode(secret)

t.test('sign-up, sign-in and what the token gives access to', async (t) => {
  const app = await build(t)
  const ada = person()
  const created = await post(app, 'signup', ada)
  t.equal(created.statusCode, 201, 'sign-up is 201')
  t.equal(created.headers['cache-control'], 'no-store', 'no cache keeps the answer to sign-up')
  const { token, refresh_token, user } = dataOf(created)
  t.strictSame(
    created.json(),
    {
      success: true,
      data: {
        token,
        expires_in: 7 * DAY,
        refresh_token,
        user: { id: user.id, email: ada.email, name: 'Ada' },
      },
    },
    'the answer contains tokens and user, and nothing else',
  )
  t.match(refresh_token, /^[\w-]{43}$/, 'a refresh token is 43 characters')

  const again = await post(app, 'signin', { email: ada.email, password: PASSWORD })
  t.equal(again.statusCode, 200, 'sign-in is 200')
  t.equal(again.headers['cache-control'], 'no-store', 'no cache keeps the answer to sign-in')
  t.strictSame(dataOf(again).user, user, 'sign-in gives the same user')
  t.not(dataOf(again).refresh_token, refresh_token, 'each sign-in has its own refresh token')

  for (const headers of [bearer(token), bearer(dataOf(again).token)]) {
    const made = await app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } })
    t.equal(made.json<Task>().user_id, user.id, 'a task is created for the user of the token')
    t.equal(
      (await app.inject({ url: `/api/${user.id}/tasks`, headers })).statusCode,
      200,
      'the path of the user is accessible',
    )
    for (const url of ['/me', '/api/auth/me']) {
      t.strictSame(
        (await app.inject({ url, headers })).json(),
        {
          user_id: user.id,
          email: ada.email,
          authenticated: true,
        },
        `${url} says who it is`,
      )
    }
  }
})

t.test('other paths do the same', async (t) => {
  const app = await build(t)
  for (const [signUp, signIn, signOut] of [
    ['sign-up', 'sign-in', 'sign-out'],
    ['register', 'login', 'logout'],
  ] as const) {
    const ada = person()
    t.equal((await post(app, signUp, ada)).statusCode, 201, `${signUp} is 201`)
    const signedIn = await post(app, signIn, { email: ada.email, password: PASSWORD })
    t.equal(signedIn.statusCode, 200, `${signIn} is 200`)
    const { token, refresh_token } = dataOf(signedIn)
    const signedOut = await post(app, signOut, {}, bearer(token))
    t.equal(signedOut.statusCode, 200, `${signOut} is 200`)
    t.strictSame(signedOut.json(), { success: true }, `${signOut} says so`)
    t.equal((await refresh(app, refresh_token)).statusCode, 401, 'the refresh token is spent')
  }
})

t.test('without a name, what is before the @ is the name', async (t) => {
  const app = await build(t)
  const { email, password } = person()
  const [name] = email.split('@')
  t.equal(dataOf(await post(app, 'signup', { email, password })).user.name, name, 'at sign-up')
  t.equal((await signIn(app, { email, password })).user.name, name, 'and at the next sign-in')
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
    t.equal(protectedHeader.alg, 'HS256', `${name}: signed with HS256`)
    t.equal((payload.exp as number) - (payload.iat as number), seconds, name)
    t.ok(Math.abs((payload.iat as number) - Date.now() / 1000) < 60, `${name}: issued now`)
    t.equal(expires_in, seconds, name)
  }
})

t.test('a token expires, however short the setting', async (t) => {
  const app = await build(t, { env: { ACCESS_TOKEN_EXPIRE_MINUTES: '0.001' } })
  const { token, headers } = await signUp(app)
  t.type(decodeJwt(token).exp, 'number', 'exp is a number')
  t.equal((await app.inject({ url: '/me', headers })).statusCode, 200, 'within the leeway')
})

t.test('issuer and audience, where set, are in the tokens', async (t) => {
  const app = await build(t, { env: { JWT_ISSUER: 'https://issuer.example', JWT_AUDIENCE: 'tasks' } })
  const { token, headers } = await signUp(app)
  t.match(decodeJwt(token), { iss: 'https://issuer.example', aud: 'tasks' }, 'both claims are there')
  t.equal(
    (await app.inject({ url: '/me', headers })).statusCode,
    200,
    'the service that issued it accepts it',
  )
  const elsewhere = await signUp(await build(t))
  t.equal(
    (await app.inject({ url: '/me', headers: elsewhere.headers })).statusCode,
    401,
    'a token without them is refused',
  )
})

t.test('e-mail addresses', async (t) => {
  const app = await build(t)

  t.test('are unique, regardless of case', async (t) => {
    const ada = await signUp(app, { ...person(), email: `Ada.${randomUUID()}@Example.COM` })
    t.equal(ada.user.email, ada.email.toLowerCase(), 'the address is stored in lower case')
    for (const email of [ada.email, ada.email.toLowerCase(), ada.email.toUpperCase()]) {
      const taken = await post(app, 'signup', { ...person(), email, password: 'another long password' })
      t.strictSame(refusal(taken), [400, 'email_taken'], `${email} is taken`)
      t.equal((await signIn(app, { email, password: PASSWORD })).user.id, ada.user.id, `${email} signs in`)
    }
    const rest = { email: ada.email, password: 'another long password' }
    t.strictSame(
      refusal(await post(app, 'signin', rest)),
      [401, 'invalid_credentials'],
      'the password of the refused sign-up does not work',
    )
  })

  t.test('of 20 sign-ups at once with one address, one succeeds', async (t) => {
    const ada = person()
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        post(app, 'signup', { ...ada, email: i % 2 ? ada.email : ada.email.toUpperCase() }),
      ),
    )
    t.equal(answers.filter(({ statusCode }) => statusCode === 201).length, 1, 'one sign-up is 201')
    const others = answers.filter(({ statusCode }) => statusCode !== 201)
    t.ok(
      others.every((response) => String(refusal(response)) === '400,email_taken'),
      'the other answers say that the address is taken',
    )
    t.equal((await accountsWith('email', ada.email)).length, 1, 'one account was created')
    t.equal((await signIn(app, ada)).user.email, ada.email, 'it can sign in')
  })

  t.test('with a letter that can be written in two ways', async (t) => {
    const composed = `ren\u00e9-${randomUUID()}@example.com`
    const ada = { ...person(), email: composed.normalize('NFD') }
    t.not(ada.email, composed)
    t.equal((await post(app, 'signup', ada)).statusCode, 201)
    t.same(refusal(await post(app, 'signup', { ...ada, email: composed })), [400, 'email_taken'])
    for (const email of [composed, ada.email])
      t.equal((await signIn(app, { ...ada, email })).user.email, composed, 'it signs in either way')
  })

  t.test('that are malformed', async (t) => {
    const nul = `a\u0000${randomUUID()}@example.com`
    const unseen = ['\u200b', '\u2060', '\u00ad', '\u2800', '\u3164'].map(
      (letter) => `ada@example.com${letter}`,
    )
    for (const email of [
      '',
      'ada',
      'ada@',
      '@example.com',
      'a b@example.com',
      'ada@example',
      nul,
      1,
      null,
      ...unseen,
    ]) {
      const response = await post(app, 'signup', { ...person(), email })
      t.equal(response.statusCode, 422, JSON.stringify(email))
    }
    for (const email of ['', 'ada', nul, 'half \ud800@example.com', "' or true --"]) {
      const { statusCode } = await post(app, 'signin', { email, password: PASSWORD })
      t.ok(statusCode === 401 || statusCode === 422, `${statusCode} ${JSON.stringify(email)}`)
    }
  })
})

t.test('unknown fields and missing ones', async (t) => {
  const app = await build(t)
  const { email, password, name } = person()
  for (const payload of [
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
  t.equal((await post(app, 'signin', { email })).statusCode, 422, 'sign-in without a password is 422')
  t.equal(
    (await post(app, 'signin', { email, password, name })).statusCode,
    422,
    'sign-in with a name is 422',
  )
})

t.test('blocked accounts and users', async (t) => {
  const app = await build(t)

  t.test('an inactive account', async (t) => {
    const ada = await signUp(app)
    await rows('update accounts set active = false where id = $1', ada.user.id)
    t.strictSame(
      refusal(await post(app, 'signin', { email: ada.email, password: PASSWORD })),
      [400, 'inactive_user'],
      'sign-in says that the user is inactive',
    )
    t.strictSame(
      refusal(await refresh(app, ada.refresh_token)),
      [400, 'inactive_user'],
      'refresh says so too',
    )
    const wrong = await post(app, 'signin', { email: ada.email, password: 'not the password' })
    t.strictSame(refusal(wrong), [401, 'invalid_credentials'], 'is reported only to those with the password')
  })

  t.test('tokens that say so, on every route that needs one', async (t) => {
    const { paths } = (await app.inject('/openapi.json')).json<{
      paths: Record<string, Record<string, { security?: object[] }>>
    }>()
    const routes = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations)
        .filter(([, { security }]) => security?.length)
        .map(([method]) => ({ path, method: method.toUpperCase() as 'GET' })),
    )
    t.ok(routes.length > 20, 'there are routes that need a token')
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
    t.equal(
      (await app.inject({ url: '/todos', headers: harmless })).statusCode,
      200,
      'claims that are false block nobody',
    )
  })
})

t.test('without local accounts', async (t) => {
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
      'only /me is documented under /api/auth',
    )
  }

  const off = await build(t, { env: { LOCAL_AUTH: 'off' } })
  const { id, headers } = await identity()
  await addTasks(id, 2)
  const exported = await off.inject({ url: '/me/export', headers })
  t.match(exported.json(), { user: { id }, account: null }, 'the export has the user and no account')
  t.equal(exported.json().tasks.length, 2, 'the export has the tasks')
  t.equal(
    (await off.inject({ method: 'DELETE', url: '/me', headers })).statusCode,
    200,
    'the user can be deleted',
  )
  t.equal(await totalOf(off, headers), 0, 'no task is left')

  const on = { ...environment, ...JWKS_ONLY, LOCAL_AUTH: 'on' }
  await t.rejects(
    buildApp({ env: on, database: await database() }),
    {
      message: /^LOCAL_AUTH_SECRET must be set/,
    },
    'LOCAL_AUTH=on needs a secret',
  )
})

t.test('LOCAL_AUTH_SECRET signs, and verifies as the others do', async (t) => {
  const app = await build(t, { env: { LOCAL_AUTH_SECRET: OTHER_SECRET } })
  const { token, headers } = await signUp(app)
  await t.resolves(jwtVerify(token, keyOf(OTHER_SECRET)), 'it is signed with LOCAL_AUTH_SECRET')
  await t.rejects(jwtVerify(token, keyOf(SECRET)), 'it is not signed with BETTER_AUTH_SECRET')
  t.equal(
    (await app.inject({ url: '/todos', headers })).statusCode,
    200,
    'a token of a local account is accepted',
  )
  t.equal(
    (await app.inject({ url: '/todos', headers: (await identity()).headers })).statusCode,
    200,
    'a token of Better Auth is accepted',
  )
  const unknown = bearer(await mint({ sub: 'x' }, OTHER_SECRET.toLowerCase()))
  t.equal(
    (await app.inject({ url: '/todos', headers: unknown })).statusCode,
    401,
    'a token of any other secret is refused',
  )

  const alone = await build(t, {
    env: {
      ...JWKS_ONLY,
      LOCAL_AUTH_SECRET: OTHER_SECRET,
    },
  })
  const own = await signUp(alone)
  t.equal((await alone.inject({ url: '/todos', headers: own.headers })).statusCode, 200, 'with a key set')
})
