import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import t from 'tap'
import type { Database } from '../../src/database/index.ts'
import { RefreshTokens } from '../../src/refresh-tokens.ts'
import { DAY, dataOf, post, refresh, rows, signIn, signUp, tokensOf } from '../helper/accounts.ts'
import { build, identity, mint } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { bearer, refusal } from '../helper/http.ts'
import { slow } from '../helper/sql.ts'

t.test('refresh', async (t) => {
  const app = await build(t)

  t.test('gives the next token and the next refresh token', async (t) => {
    const ada = await signUp(app)
    let { refresh_token } = ada
    for (let i = 0; i < 3; i++) {
      const response = await refresh(app, refresh_token)
      t.equal(response.statusCode, 200, 'refresh is 200')
      t.equal(response.headers['cache-control'], 'no-store', 'no cache keeps it')
      const data = dataOf(response)
      t.strictSame(data.user, ada.user, 'it is the same user')
      t.not(data.refresh_token, refresh_token, 'the refresh token is new')
      t.equal(
        (await app.inject({ url: '/todos', headers: bearer(data.token) })).statusCode,
        200,
        'the token is accepted',
      )
      refresh_token = data.refresh_token
    }
  })

  t.test('with a spent one revokes all tokens from that sign-in, and nothing else', async (t) => {
    const ada = await signUp(app)
    const phone = await signIn(app, ada)
    const next = dataOf(await refresh(app, ada.refresh_token)).refresh_token
    const response = await refresh(app, ada.refresh_token)
    t.strictSame(refusal(response), [401, 'invalid_refresh_token'], 'a spent one is refused')
    t.equal(
      response.headers['www-authenticate'],
      'Bearer realm="taskward"',
      'the challenge has no error code',
    )
    t.equal((await refresh(app, next)).statusCode, 401, 'the new one is revoked too')
    t.equal((await refresh(app, phone.refresh_token)).statusCode, 200, 'the other sign-in still works')
  })

  t.test('of ten at once with one token, at most one succeeds', async (t) => {
    for (let i = 0; i < 5; i++) {
      const ada = await signUp(app)
      const answers = await Promise.all(Array.from({ length: 10 }, () => refresh(app, ada.refresh_token)))
      const given = answers.filter(({ statusCode }) => statusCode === 200)
      t.ok(given.length <= 1, 'at most one of ten succeeds')
      t.ok(
        answers.every(({ statusCode }) => statusCode === 200 || statusCode === 401),
        'the others are 401',
      )
      for (const response of given) {
        t.equal((await refresh(app, dataOf(response).refresh_token)).statusCode, 401, 'the token was stolen')
      }
    }
  })

  t.test('garbage', async (t) => {
    const { token } = await signUp(app)
    for (const refresh_token of ['x', 'é\u0000\ud800', "' or true --", 'x'.repeat(128)]) {
      t.strictSame(
        refusal(await refresh(app, refresh_token)),
        [401, 'invalid_refresh_token'],
        `${JSON.stringify(refresh_token)} is refused`,
      )
    }
    for (const refresh_token of ['', 'x'.repeat(129), token, 1, null, [], {}]) {
      t.equal(
        (await post(app, 'refresh', { refresh_token })).statusCode,
        422,
        `${JSON.stringify(refresh_token)} is 422`,
      )
    }
    t.equal((await post(app, 'refresh', {})).statusCode, 422, 'no refresh token is 422')
  })

  t.test('an access token is no refresh token, and the other way round', async (t) => {
    const { refresh_token } = await signUp(app)
    t.equal(
      (await app.inject({ url: '/todos', headers: bearer(refresh_token) })).statusCode,
      401,
      'a refresh token gives no access',
    )
  })

  t.test('expires', async (t) => {
    const brief = await build(t, { env: { REFRESH_TOKEN_EXPIRATION_DAYS: '0.000001' } })
    const { refresh_token } = await signUp(brief)
    await sleep(200)
    t.strictSame(
      refusal(await refresh(brief, refresh_token)),
      [401, 'invalid_refresh_token'],
      'it has expired',
    )
  })

  t.test('lasts thirty days', async (t) => {
    const { user } = await signUp(app)
    const [token] = await rows(
      `select extract(epoch from expires_at - now()) / ${DAY} as days from refresh_tokens where account_id = $1`,
      user.id,
    )
    t.ok(Math.abs(Number(token?.days) - 30) < 0.1, 'about thirty days')
  })

  t.test('the sweep removes only expired ones', async (t) => {
    const sweeper = new RefreshTokens(app.sharedScope, 30 * DAY)
    await sweeper.sweep()
    const ada = await signUp(app)
    const [phone, laptop] = [await signIn(app, ada), await signIn(app, ada)]
    await refresh(app, laptop.refresh_token)
    const hash = createHash('sha256').update(phone.refresh_token).digest('hex')
    await rows("update refresh_tokens set expires_at = now() - interval '1 second' where hash = $1", hash)
    t.equal(await sweeper.sweep(), 1, 'one was swept')
    const left = await tokensOf(ada.user.id)
    t.equal(left.length, 3, 'spent ones are kept, because they reveal theft')
    t.notOk(
      left.some((row) => row.hash === hash),
      'the expired one is gone',
    )
    t.equal((await refresh(app, ada.refresh_token)).statusCode, 200, 'a valid one works')

    const many = 12_000
    await rows(
      `insert into refresh_tokens (hash, family, account_id, expires_at)
       select md5(n::text), gen_random_uuid(), $1, now() - n * interval '1 second' from generate_series(1, $2::int) as n`,
      ada.user.id,
      many,
    )
    t.equal(await sweeper.sweep(), many, 'however many there are')
    t.equal((await tokensOf(ada.user.id)).length, 4, 'none of them is left')
  })
})

t.test('sign-out', async (t) => {
  const app = await build(t)
  const ada = await signUp(app)
  const phone = await signIn(app, ada)
  const rotated = dataOf(await refresh(app, ada.refresh_token))
  for (const headers of [{}, bearer('x'), bearer(ada.refresh_token)]) {
    t.equal(
      (await post(app, 'signout', {}, headers as Record<string, string>)).statusCode,
      401,
      'a token is needed',
    )
  }
  const response = await app.inject({ method: 'POST', url: '/api/auth/signout', headers: ada.headers })
  t.equal(response.statusCode, 200, 'without a body')
  t.strictSame(response.json(), { success: true }, 'sign-out says so')
  t.equal(
    (await refresh(app, rotated.refresh_token)).statusCode,
    401,
    'and with an earlier token of the sign-in',
  )
  t.equal((await post(app, 'signout', {}, ada.headers)).statusCode, 200, 'twice is harmless')

  for (const sid of ['abc', '', 7, null, { $ne: '' }, 'x'.repeat(999), "' or true --"]) {
    const token = await mint({ sub: ada.user.id, sid })
    const response = await post(app, 'signout', {}, bearer(token))
    t.equal(response.statusCode, 200, `a session id of another issuer ends nothing: ${JSON.stringify(sid)}`)
  }
  t.equal((await refresh(app, phone.refresh_token)).statusCode, 200, 'the other sign-in lives')

  const stranger = await signUp(app)
  const { sid } = decodeJwt(stranger.token)
  const forged = bearer(await mint({ sub: ada.user.id, sid }))
  t.equal((await post(app, 'signout', {}, forged)).statusCode, 200, 'a forged session id is harmless')
  t.equal((await refresh(app, stranger.refresh_token)).statusCode, 200, "a stranger's sign-in still works")
  t.equal((await post(app, 'signout', {}, (await identity()).headers)).statusCode, 200, 'for Better Auth too')
})

t.test('revoking a sign-in also revokes a refresh in flight', async (t) => {
  const db = await database()
  let held = false
  const run: Database['run'] = (steps) => {
    const hold = held && steps[0]?.sql.startsWith('with ')
    if (hold) held = false
    return db.run(hold ? [...steps, slow(db)] : steps)
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
