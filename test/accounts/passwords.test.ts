import { createHash } from 'node:crypto'
import bcrypt from 'bcrypt'
import type { LightMyRequestResponse as Response } from 'fastify'
import t from 'tap'
import { accountsWith, dataOf, person, post, refresh, rows, signUp, tokensOf } from '../helper/accounts.ts'
import { build } from '../helper/app.ts'
import { bearer, refusal } from '../helper/http.ts'

/** The parts of an answer that do not change from one to the next. */
const headersOf = ({ headers }: Response) =>
  Object.entries(headers).filter(([name]) => !/^(date|ratelimit-(remaining|reset))$/.test(name))
const quantile = (values: number[], q: number) =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * q)] as number

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
    t.equal(signedIn.statusCode, 200, 'it signs in')
    for (const near of [`${password} `, password.slice(0, -1), password.toUpperCase()]) {
      if (near === password) continue
      t.strictSame(
        refusal(await post(app, 'signin', { email: ada.email, password: near })),
        [401, 'invalid_credentials'],
        `another is refused: ${JSON.stringify(near)}`,
      )
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
    t.strictSame(response.json().errors[0].loc, ['body', 'password'], 'the fault is in the password')
    t.equal((await accountsWith('email', ada.email)).length, 0, 'no account was created')
  }
})

t.test('characters that bcrypt would cut off count', async (t) => {
  const app = await build(t)
  const password = 'é'.repeat(36)
  const { email } = await signUp(app, { ...person(), password })
  t.equal((await post(app, 'signin', { email, password })).statusCode, 200, 'the password itself signs in')
  for (const longer of [`${password}x`, `${password}é`, 'é'.repeat(64)]) {
    const response = await post(app, 'signin', { email, password: longer })
    t.strictSame(refusal(response), [401, 'invalid_credentials'], `${Buffer.byteLength(longer)} bytes`)
  }
})

t.test('a wrong password and an unknown account give the same answer', async (t) => {
  const app = await build(t, { env: { BCRYPT_COST: '8' } })
  const { email } = await signUp(app)
  const attempt = (email: string, password = 'not the password') =>
    post(app, 'signin', { email, password }, { 'x-request-id': 'same' })

  const [wrong, unknown] = [await attempt(email), await attempt(person().email)]
  t.equal(wrong.statusCode, 401, 'a wrong password is 401')
  t.match(
    wrong.json(),
    { detail: 'Invalid email or password', code: 'invalid_credentials' },
    'a sentence and a code',
  )
  t.equal(wrong.headers['www-authenticate'], 'Bearer realm="taskward"', 'a challenge without an error code')
  t.equal(unknown.statusCode, wrong.statusCode, 'the same status')
  t.equal(unknown.body, wrong.body, 'the same body')
  t.strictSame(headersOf(unknown), headersOf(wrong), 'the same headers')

  const long = 'é'.repeat(60)
  t.equal(
    (await attempt(email, long)).body,
    (await attempt(person().email, long)).body,
    'the same body for a password that is too long',
  )

  const times: Record<'wrong' | 'unknown', number[]> = { wrong: [], unknown: [] }
  while (Math.min(times.wrong.length, times.unknown.length) < 25) {
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
  // Mann and Whitney's U as a share of all pairs: 0.5 if the two cannot be told apart.
  const pairs = times.wrong.flatMap((a) =>
    times.unknown.map((b) => (a > b ? 1 : a === b ? 0.5 : 0) as number),
  )
  const share = pairs.reduce((sum, pair) => sum + pair, 0) / pairs.length
  t.comment(
    `median ${medians[0].toFixed(2)} ms (${quarters[0]}) for a wrong password, ` +
      `${medians[1].toFixed(2)} ms (${quarters[1]}) for an unknown account; P(wrong > unknown) ${share.toFixed(2)}`,
  )
  t.ok(
    Math.max(...medians) < 3 * Math.min(...medians),
    `${medians.map((ms) => ms.toFixed(2)).join(' and ')} ms`,
  )
})

t.test('secrets are not leaked', async (t) => {
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
  t.equal(rotated.statusCode, 200, 'refresh is 200')

  const [account] = await rows('select * from accounts where id = $1', user.id)
  t.match(account?.password, /^\$2[ab]\$04\$[./\w]{53}$/, 'the password is kept as a bcrypt hash')
  t.ok(await bcrypt.compare(secret, account?.password ?? ''), 'the hash is that of the password')

  const sent = [signedUp, ...answers, second, rotated].map(
    ({ body, headers }) => body + JSON.stringify(headers),
  )
  for (const text of [secret, account?.password ?? '$2'])
    t.notOk(
      sent.some((body) => body.includes(text)),
      'no answer contains the password or its hash',
    )

  const log = lines.join('')
  t.match(log, /"status":401/, 'the refusals were logged')
  for (const [what, text] of Object.entries({
    password: secret,
    'part of it': secret.slice(0, 8),
    hash: account?.password ?? '',
    token,
    'refresh token': refresh_token,
    'next refresh token': dataOf(rotated).refresh_token,
  })) {
    t.notOk(log.includes(text), `no line of the log contains the ${what}`)
  }

  const kept = await tokensOf(user.id)
  const hash = createHash('sha256').update(dataOf(rotated).refresh_token).digest('hex')
  t.ok(
    kept.some((row) => row.hash === hash),
    'the refresh token is kept as its hash',
  )
  t.ok(
    kept.every((row) => /^[0-9a-f]{64}$/.test(String(row.hash))),
    'every refresh token is kept as a hash',
  )
  t.notOk(JSON.stringify(kept).includes(dataOf(rotated).refresh_token), 'refresh tokens are kept as hashes')
})
