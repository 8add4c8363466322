import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { readConfig } from '../../src/config.ts'
import { HttpProblem } from '../../src/problem.ts'
import { reasonOf, type VerifierOptions, verifierOptions, verifyToken } from '../../src/tokens/index.ts'
import { build, environment, SECRET } from '../helper/app.ts'
import { bearer } from '../helper/http.ts'
import { both, keySetOnly, secretOnly } from './counted.ts'
import { hostile } from './hostile-tokens.ts'
import {
  ALGORITHMS,
  claims,
  encode,
  good,
  hs,
  HS256,
  issued,
  issuer,
  now,
  pk,
  theirKeys,
  withClaims,
  withHeader,
} from './signing.ts'

const optionsOf = (env: Record<string, string | undefined>) =>
  verifierOptions(readConfig({ ...environment, ...env }))

/** Why verifyToken() refuses a token, or that it does not. */
async function refusalOf(token: string, options: VerifierOptions) {
  try {
    const { user } = await verifyToken(token, options)
    return { code: user.id, reason: undefined }
  } catch (error) {
    if (!(error instanceof HttpProblem)) throw error
    return { code: error.code, reason: reasonOf(error) }
  }
}

for (const [name, env] of Object.entries({ both, secretOnly, keySetOnly })) {
  t.test(`the service, its log and doctor say the same of every token, with ${name}`, async (t) => {
    let line: { code?: string; reason?: string; msg?: string } = {}
    const app = await build(t, { env, onLog: (text) => (line = JSON.parse(text)) })
    const options = optionsOf(env)
    const tokens: [name: string, token: string][] = [
      ['good', good],
      ...ALGORITHMS.map((alg): [string, string] => [alg, pk(alg)]),
      ...hostile.map(([name, token]): [string, string] => [name, token]),
    ]
    for (const [name, token] of tokens) {
      // What the header cannot carry, or carries as something else, never reaches the rules of tokens.
      if (!/^[!-~]+$/.test(token)) continue
      const { statusCode } = await app.inject({ url: '/me', headers: bearer(token) })
      const { code, reason } = await refusalOf(token, options)
      t.equal(statusCode, reason ? 401 : 200, `${name}: both refuse it or neither`)
      if (!reason) continue
      t.same(line.code, code, `${name}: the same code`)
      t.equal(line.reason, reason.message, `${name}: the same sentence`)
      t.match(reason.message, /^The [\x20-\x7e]+, expected [\x20-\x7e]+\.$/, `${name}: a sentence of ASCII`)
      t.ok(reason.message.length < 1000, `${name}: the sentence is bounded`)
      const signature = token.split('.')[2] ?? ''
      if (signature.length > 8) t.notOk(reason.message.includes(signature), `${name}: without the signature`)
      t.notOk(reason.message.includes(SECRET), `${name}: without the secret`)
    }
  })
}

type Row = [name: string, token: string, env: Record<string, string>, rule: string, sentence: RegExp]

/** A Better Auth server at another address, with the keys of the issuer. */
const at = (BETTER_AUTH_URL: string) => ({ BETTER_AUTH_URL, JWKS_URL: `${issuer.origin}/jwks` })
const tokenOf = (changed: object) => pk('EdDSA', { payload: issued(changed) })
const app = at('https://app.example.com')
const local = at('http://localhost:3000')
const iss = (iss: string, aud = iss) => tokenOf({ iss, aud })
const session = 'rMGRY14tPdnDx0704nNR7CJ98OadRhdg'
const mac = randomBytes(32).toString('base64')
const past = new Date((now - 7500) * 1000).toISOString()

const MISTAKES: Row[] = [
  [
    'EdDSA without BETTER_AUTH_URL',
    pk('EdDSA'),
    {},
    'alg',
    /^The algorithm \(alg\) is "EdDSA", expected "HS256"\. .* set BETTER_AUTH_URL to/,
  ],
  [
    'HS256 without a secret',
    good,
    { BETTER_AUTH_SECRET: '', ...both },
    'alg',
    /"HS256", .*set BETTER_AUTH_SECRET/,
  ],
  ['HS512', withHeader({ alg: 'HS512' }), {}, 'alg', /is "HS512", expected "HS256"\. Its signer/],
  ['no alg', withHeader({ alg: undefined }), {}, 'alg', /is missing, expected "HS256"/],
  [
    'unknown kid',
    pk('EdDSA', { header: { kid: 'gone' } }),
    both,
    'kid',
    /"gone" with .* "EdDSA", expected one of http:\S+\/api\/auth\/jwks, which has "EdDSA" \("EdDSA"\), .* 5 more\. .*sign in again/,
  ],
  [
    'unknown kid of another server',
    pk('EdDSA', { header: { kid: 'gone' }, payload: issued({ iss: 'https://other.example.com' }) }),
    both,
    'kid',
    /issuer \(iss\) is "https:\/\/other\.example\.com", not "http:\S+".*BETTER_AUTH_URL/,
  ],
  ['wrong secret', hs(claims(), HS256, 'another secret'), {}, 'signature', /secret .*BETTER_AUTH_SECRET/],
  ["a stranger's key", pk('EdDSA', { pairs: theirKeys }), both, 'signature', /key "EdDSA" of http:/],
  ['iss: slash', iss('https://app.example.com/'), app, 'iss', /example\.com\/", expected .*slash at the end/],
  ['iss: path', iss('https://app.example.com/api/auth'), app, 'iss', /\/api\/auth".* differ in the path/],
  ['iss: http', iss('http://app.example.com'), app, 'iss', /differ in the scheme/],
  ['iss: port', iss('http://localhost:3001'), local, 'iss', /differ in the port/],
  [
    'iss: this machine',
    iss('http://127.0.0.1:3000'),
    local,
    'iss',
    /127\.0\.0\.1 and localhost are different/,
  ],
  ['iss: IPv6', iss('http://[::1]:3000'), local, 'iss', /\[::1\] and localhost are different/],
  ['iss: other', iss('https://other.example.com'), app, 'iss', /Set BETTER_AUTH_URL to .*, or JWT_ISSUER/],
  [
    'iss: JWT_ISSUER',
    good,
    { JWT_ISSUER: 'https://id.example.com' },
    'iss',
    /is missing, .* JWT_ISSUER says so/,
  ],
  ['aud: slash', iss('https://app.example.com', 'https://app.example.com/'), app, 'aud', /\(aud\).* slash/],
  [
    'aud: missing',
    tokenOf({ iss: app.BETTER_AUTH_URL, aud: undefined }),
    app,
    'aud',
    /\(aud\) is missing, .*JWT_AUDIENCE/,
  ],
  [
    'aud: JWT_AUDIENCE',
    withClaims({ aud: ['a', 'b'] }),
    { JWT_AUDIENCE: 'c' },
    'aud',
    /is \["a", "b"\], expected "c"\. JWT_AUDIENCE says so/,
  ],
  [
    'iat ahead',
    withClaims({ iat: now + 600 }),
    {},
    'iat',
    /\(iat\) is \S+Z, (10 min|9 min 59 s) ahead of this clock.*clocks/,
  ],
  ['nbf ahead', withClaims({ nbf: now + 90 }), {}, 'nbf', /\(nbf\) is \S+Z, 1 min (30|29) s ahead/],
  ['iat in milliseconds', withClaims({ iat: now * 1000 }), {}, 'iat', /milliseconds/],
  ['iat beyond all dates', withClaims({ iat: 1e300 }), {}, 'iat', /1e\+300/],
  ['expired', withClaims({ exp: now - 7500 }), {}, 'exp', new RegExp(`is ${past}, 2 h 5 min ago`)],
  ['without an end', withClaims({ exp: undefined }), {}, 'exp', /is missing/],
  [
    'two subjects',
    withClaims({ sub: 'a', id: 'b' }),
    {},
    'subject',
    /two of the three differ.*definePayload/,
  ],
  ['no subject', withClaims({ sub: undefined }), {}, 'subject', /is missing/],
  ['session token', session, {}, 'form', /is Better Auth's session token, .*GET \/api\/auth\/token/],
  ['session cookie', `${session}.${mac}`, {}, 'form', /session cookie \(token\.signature\)/],
  ['session cookie, encoded', `${session}.${encodeURIComponent(mac)}`, {}, 'form', /\(token\.signature\)/],
  [
    'session cookie, named',
    `__Secure-better-auth.session_token=${session}.${mac}`,
    {},
    'form',
    /session cookie/,
  ],
  [
    'session cache',
    withHeader({ typ: 'better-auth.session-cache+jwt' }),
    {},
    'header',
    /typ is .* session cookie/,
  ],
  ['encrypted', 'a.b.c.d.e', {}, 'form', /encrypted token \(five parts\)/],
  ['undefined', 'undefined', {}, 'form', /before it had a token/],
  ['quotes', `"${good}"`, {}, 'form', /in quotes/],
  ['GitHub', 'gho_16C7e42F292c6912E7710c838347Ae178B4a', {}, 'form', /GitHub's access token/],
  ['Google, opaque', 'ya29.a0AfH6SMBx', {}, 'form', /Google's access token/],
  ['no signature', good.replace(/[^.]*$/, ''), {}, 'form', /token is without a signature, expected three/],
  [
    'alg none',
    withHeader({ alg: 'none' }),
    {},
    'alg',
    /is "none", expected "HS256"\. It is not signed\. Send/,
  ],
  ['padded', `${good}=`, {}, 'form', /cut off, or not base64url without padding/],
  ['a variable', '$TOKEN', {}, 'form', /name of a variable instead of its value/],
  ['two parts', 'a.b', {}, 'form', /is no JWT, expected three/],
  ['not JSON', `${encode('{')}.${encode('{}')}.AAAA`, {}, 'form', /header of the token is not JSON/],
]
for (const [name, issuer] of Object.entries({
  Google: 'https://accounts.google.com',
  Apple: 'https://appleid.apple.com',
  GitHub: 'https://token.actions.githubusercontent.com',
  Auth0: 'https://team.eu.auth0.com/',
  Clerk: 'https://happy-cat-1.clerk.accounts.dev',
  Supabase: 'https://abcdef.supabase.co/auth/v1',
})) {
  const sentence = new RegExp(`was issued by ${name}, not by Better Auth`)
  const header = { kid: 'theirs' }
  MISTAKES.push(
    [`${name}, no keys`, pk('RS256', { payload: issued({ iss: issuer }) }), {}, 'alg', sentence],
    [`${name}, kid`, pk('RS256', { payload: issued({ iss: issuer }), header }), both, 'kid', sentence],
    [`${name}, secret`, hs(claims({ iss: issuer }), HS256, 'theirs'), {}, 'signature', sentence],
    [`${name}, iss`, iss(issuer), app, 'iss', sentence],
  )
}

t.test('each mistake is named, with what came, what was expected and what to set', async (t) => {
  for (const [name, token, env, rule, sentence] of MISTAKES) {
    const { reason } = await refusalOf(token, optionsOf(env))
    t.equal(reason?.rule, rule, `${name}: the rule`)
    t.match(reason?.message, sentence, `${name}: the sentence`)
    t.ok(reason?.message.includes(reason.expected), `${name}: it has what was expected`)
    t.ok(reason?.message.includes(reason.actual), `${name}: it has what came`)
    for (const part of [session, mac, SECRET])
      t.notOk(reason?.message.includes(part), `${name}: no credential`)
  }
})

t.test('an issuer that is accepted is no stranger', async (t) => {
  const issuer = 'https://team.eu.auth0.com/'
  const env = { JWT_ISSUER: issuer, JWT_AUDIENCE: 'tasks' }
  const { reason } = await refusalOf(hs(claims({ iss: issuer }), HS256, 'another'), optionsOf(env))
  t.equal(reason?.rule, 'signature')
  t.notMatch(reason?.message, /Auth0/)
})

t.test('values of a token are bounded and cannot act on a terminal', async (t) => {
  const bidi = '\u202e'
  for (const value of [
    '\u001b[31m\u009b31m\u0007\r\n',
    `${bidi}\u2028\ud800`,
    'x'.repeat(5000),
    Array.from({ length: 900 }, () => 'x'.repeat(3)),
    Array.from({ length: 5 }, () => 'x'.repeat(300)),
    JSON.parse(`${'['.repeat(2000)}${']'.repeat(2000)}`),
    { a: { b: 'c' } },
    0,
    null,
    true,
  ]) {
    for (const [claim, env] of [
      ['iss', { JWT_ISSUER: 'a' }],
      ['aud', { JWT_AUDIENCE: 'a' }],
    ] as const) {
      const { reason } = await refusalOf(withClaims({ [claim]: value }), optionsOf(env))
      t.equal(reason?.rule, claim)
      t.match(reason?.message, /^[\x20-\x7e]+$/, 'ASCII')
      t.ok((reason?.actual.length ?? 999) <= 203, `${reason?.actual.length} characters`)
    }
    const header = withHeader({ alg: value })
    t.match((await refusalOf(header, optionsOf({}))).reason?.message, /^[\x20-\x7e]{1,600}$/)
  }
})

t.test('a header without one token says what to send', async (t) => {
  const app = await build(t, { env: { NODE_ENV: 'development' } })
  for (const [authorization, told] of [
    ['', 'missing'],
    ['Bearer', 'a scheme without a token'],
    ['Basic YTpi', 'of another scheme'],
    [session, 'one word without a scheme'],
    ['Bearer a b', 'more than one token'],
    ['Bearer [object Object]', 'a value that the front end turned into text before it had a token'],
  ] as const) {
    const { hint } = (await app.inject({ url: '/me', headers: { authorization } })).json()
    const start = `The Authorization header is ${told}, expected the word Bearer, a space and one token. `
    t.equal(hint.slice(0, start.length), start, authorization)
    t.match(hint, /Send the JWT that GET \/api\/auth\/token of Better Auth answers\.$/)
  }
})

const bodyOf = async (t: Test, env: Record<string, string>, tokens: (string | undefined)[]) => {
  const app = await build(t, { env })
  const bodies: Record<string, unknown>[] = []
  for (const token of tokens) {
    const response = await app.inject({ url: '/me', headers: token === undefined ? {} : bearer(token) })
    const { request_id: _, ...body } = response.json()
    bodies.push(body)
  }
  return bodies
}

t.test('the answer is one and the same for all causes, and has a hint in development alone', async (t) => {
  const wrong = [
    hs(claims(), HS256, 'another'),
    pk('EdDSA'),
    session,
    withClaims({ iat: now + 600 }),
    withClaims({ sub: 'a', id: 'b' }),
  ]
  const all = [...wrong, withClaims({ exp: 1 }), withClaims({ sub: undefined }), undefined]
  for (const NODE_ENV of ['production', 'test']) {
    const url = { DATABASE_URL: 'pglite:memory' }
    const bodies = await bodyOf(t, { NODE_ENV, ...url }, all)
    t.notMatch(JSON.stringify(bodies), /hint/, `${NODE_ENV}: no hint`)
    t.equal(
      new Set(bodies.slice(0, wrong.length).map((body) => JSON.stringify(body))).size,
      1,
      'the same bytes',
    )
  }
  const told = await bodyOf(t, { NODE_ENV: 'development' }, all)
  const hints = told.map(({ hint }) => hint)
  t.equal(new Set(hints).size, all.length, 'each has its own')
  t.match(hints[1], /alg.*BETTER_AUTH_URL/)
  t.match(hints.at(-1), /Authorization header is missing.*Cookies/)
  t.same(
    (await bodyOf(t, { NODE_ENV: 'test' }, all)).map((body, i) => ({ ...body, hint: hints[i] })),
    told,
    'the rest is the same',
  )
})
