import { request as httpRequest } from 'node:http'
import t from 'tap'
import { type Answer, bearer, serve } from '../helper/http.ts'
import { both, buildCounted, keySetOnly, me, secretOnly } from './counted.ts'
import { hostile } from './hostile-tokens.ts'
import { attacker, good, issuer, pk } from './signing.ts'

const DETAILS: Record<string, string> = {
  missing_token: 'Missing token',
  invalid_token: 'Invalid token',
  token_expired: 'Token expired',
  missing_user_id: 'Invalid token: missing user_id',
}

function answered({ statusCode, headers, body }: Answer) {
  const { status, code, detail, request_id } = JSON.parse(body)
  const [, error] = /^Bearer realm="[^"]+"(?:, error="(\w+)".*)?$/.exec(
    String(headers['www-authenticate']),
  ) ?? [0, 'none']
  return {
    statusCode,
    status,
    type: headers['content-type'],
    code,
    detail,
    error,
    id: request_id === headers['x-request-id'],
  }
}

const refused = (code = 'invalid_token') => ({
  statusCode: 401,
  status: 401,
  type: 'application/problem+json; charset=utf-8',
  code,
  detail: DETAILS[code],
  error: code === 'missing_token' ? undefined : 'invalid_token',
  id: true,
})

t.test(`${hostile.length} hostile tokens are refused without a statement or a request`, async (t) => {
  t.ok(hostile.length >= 120, 'there are at least 120')
  t.equal(new Set(hostile.map(([name]) => name)).size, hostile.length, 'each has a different name')
  const { app, statements } = await buildCounted(t, { env: both })
  for (const token of [good, pk('EdDSA')]) {
    t.equal(
      (await app.inject({ url: '/todos', headers: bearer(token) })).statusCode,
      200,
      'the tokens that they are made from are good',
    )
  }
  t.equal(statements(), 2, 'the good ones ran a statement each')

  const fetches = issuer.requests.length
  for (const [name, token, code] of hostile) {
    const response = await app.inject({ url: '/todos', headers: bearer(token) })
    t.same(answered(response), refused(code), name)
  }
  t.equal(statements(), 2, 'no statement was run')
  t.same(attacker.requests, [], 'no address in a token was fetched')
  t.equal(issuer.requests.length, fetches, 'the issuer was not asked again')
})

for (const [name, env] of Object.entries({ secretOnly, keySetOnly })) {
  t.test(`hostile tokens are refused with ${name} too`, async (t) => {
    const { app, statements } = await buildCounted(t, { env })
    const fetches = issuer.requests.length
    const [own, other] = name === 'secretOnly' ? [good, pk('EdDSA')] : [pk('EdDSA'), good]
    t.match(await me(app, own), { user_id: 'mallory' }, 'a token of this kind is good')
    t.equal(await me(app, other), 'invalid_token', 'the other kind is refused')
    for (const [name, token] of hostile) {
      const response = await app.inject({ url: '/todos', headers: bearer(token) })
      t.same(answered(response), refused(response.json().code), name)
    }
    t.equal(statements(), 0, 'no statement was run')
    t.same(attacker.requests, [], 'no address in a token was fetched')
    t.ok(issuer.requests.length - fetches <= 1, 'the issuer was asked at most once')
  })
}

/** Over a socket, where the headers are as a client sends them. */
function get(port: number, values: string[], path = '/todos'): Promise<Answer> {
  const lines = values.flatMap((value, i) => [i % 2 ? 'authorization' : 'Authorization', value])
  return new Promise((resolve, reject) => {
    const headers = ['Host', 'localhost', ...lines]
    httpRequest({ host: '127.0.0.1', port, path, headers, agent: false }, async (response) => {
      const body = (await response.toArray()).join('')
      resolve({ statusCode: response.statusCode ?? 0, headers: response.headers, body })
    })
      .on('error', reject)
      .end()
  })
}
const utf8 = (text: string) => Buffer.from(text).toString('latin1')

t.test('odd Authorization headers are refused', async (t) => {
  const { app, statements } = await buildCounted(t, { env: both })
  const { port } = await serve(app)

  for (const value of [
    `Bearer ${good}`,
    `bearer ${good}`,
    `BEARER ${good}`,
    `bEaReR  ${good}`,
    ` Bearer ${good} `,
  ]) {
    t.equal((await get(port, [value], '/me')).statusCode, 200, value)
  }

  const missing = {
    none: [],
    empty: [''],
    'the scheme alone': ['Bearer'],
    'the scheme and a space': ['Bearer '],
    'no scheme': [good],
    Basic: ['Basic bWFsbG9yeTpwYXNzd29yZA=='],
    'Basic with the token': [`Basic ${good}`],
    Token: [`Token ${good}`],
    JWT: [`JWT ${good}`],
    DPoP: [`DPoP ${good}`],
    'a longer scheme': [`Bearers ${good}`],
    'a colon': [`Bearer: ${good}`],
    'an equals sign': [`Bearer=${good}`],
    'a comma': [`Bearer,${good}`],
    'quotes around all': [`"Bearer ${good}"`],
    'another scheme first': [`Basic bWFsbG9yeQ==, Bearer ${good}`],
    'a tab': [`Bearer\t${good}`],
    'a no-break space': [`Bearer\u00a0${good}`],
    'a Cyrillic letter': [utf8(`Веarer ${good}`)],
    'full-width letters': [utf8(`Ｂｅａｒｅｒ ${good}`)],
  }
  const invalid = {
    'two tokens': [`Bearer ${good} ${good}`],
    'the scheme twice': [`Bearer Bearer ${good}`],
    'a tab between two tokens': [`Bearer ${good}\t${good}`],
    'a list of tokens': [`Bearer ${good},${good}`],
    'a list of credentials': [`Bearer ${good}, Bearer ${good}`],
    'another scheme after': [`Bearer ${good}, Basic bWFsbG9yeQ==`],
    'a comma after': [`Bearer ${good},`],
    'a semicolon after': [`Bearer ${good};`],
    'quotes around the token': [`Bearer "${good}"`],
    'angle brackets': [`Bearer <${good}>`],
    'a parameter': [`Bearer token=${good}`],
    null: ['Bearer null'],
    undefined: ['Bearer undefined'],
    object: ['Bearer [object Object]'],
    'a no-break space after': [`Bearer ${good}\u00a0`],
    'a no-break space before': [`Bearer \u00a0${good}`],
    'a zero-width space after': [utf8(`Bearer ${good}\u200b`)],
    'a letter of Latin-1': [`Bearer ${good}\u00e9`],
    'two headers, the same token': [`Bearer ${good}`, `Bearer ${good}`],
    'two headers, a bad token last': [`Bearer ${good}`, 'Bearer x'],
    'two headers, a bad token first': ['Bearer x', `Bearer ${good}`],
    'two headers, Basic last': [`Bearer ${good}`, 'Basic bWFsbG9yeQ=='],
    'two headers, Basic first': ['Basic bWFsbG9yeQ==', `Bearer ${good}`],
    'two headers, one empty': ['', `Bearer ${good}`],
  }
  for (const [code, rows] of Object.entries({ missing_token: missing, invalid_token: invalid })) {
    for (const [name, values] of Object.entries(rows)) {
      t.same(answered(await get(port, values)), refused(code), name)
    }
  }
  t.equal(statements(), 0, 'no statement was run')
})

t.test('a token anywhere but in the Authorization header is ignored', async (t) => {
  const { app, statements } = await buildCounted(t, { env: both })
  const post = { method: 'POST', url: '/todos' } as const
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  for (const request of [
    { url: `/todos?access_token=${good}` },
    { url: `/todos?token=${good}&jwt=${good}` },
    { url: `/todos?authorization=Bearer%20${good}` },
    {
      url: '/todos',
      headers: { cookie: `token=${good}; access_token=${good}; better-auth.session_token=${good}` },
    },
    { url: '/todos', headers: { 'proxy-authorization': `Bearer ${good}` } },
    { url: '/todos', headers: { 'x-access-token': good, 'x-authorization': `Bearer ${good}` } },
    { url: '/todos', headers: { 'sec-websocket-protocol': `bearer, ${good}` } },
    { ...post, payload: { title: 'x', access_token: good, token: good } },
    { ...post, headers: form, payload: `title=x&access_token=${good}` },
  ]) {
    t.same(
      answered(await app.inject(request)),
      refused('missing_token'),
      JSON.stringify(request).slice(0, 60),
    )
  }
  t.equal(statements(), 0, 'no statement was run')
})
