import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { exportJWK, generateKeyPair, type GenerateKeyPairResult, type JWK, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { type App, build, identity } from '../helper/app.ts'
import { bearer, expectProblem } from '../helper/http.ts'

// Only Date is mocked; timers are real.
mock.timers.enable({ apis: ['Date'], now: Date.now() })
const pass = (seconds: number) => mock.timers.tick(seconds * 1000)

// As in src/tokens/jwks.ts: an unknown key causes one fetch in COOL_DOWN seconds, keys are fetched again beside the
// requests from REFRESH_AGE on, and before the next request after MAX_AGE, and are used for MAX_STALE longer while the
// issuer is unreachable.
const COOL_DOWN = 30
const REFRESH_AGE = 480
const MAX_AGE = 600
const MAX_STALE = 3600
const MAX_BYTES = 256 * 1024
const JWKS_PATH = '/api/auth/jwks'

type Pair = GenerateKeyPairResult
type Answer = (response: ServerResponse) => void
const newKey = (alg = 'EdDSA', options = {}) => generateKeyPair(alg, { extractable: true, ...options })
const key = await newKey()
const nextKey = await newKey()
const jwk = async ({ publicKey }: Pair, changed: JWK = {}) => ({
  ...(await exportJWK(publicKey)),
  ...changed,
})
const keySet = (...keys: unknown[]): Answer => sendJson({ keys })
const KEY = await jwk(key, { kid: 'first', alg: 'EdDSA' })
const NEXT = await jwk(nextKey, { kid: 'next', alg: 'EdDSA' })

function send(body: string, status = 200, headers = {}): Answer {
  return (response) => response.writeHead(status, headers).end(body)
}

function sendJson(body: unknown): Answer {
  return send(JSON.stringify(body), 200, { 'content-type': 'application/json' })
}

/** A Better Auth server on loopback, which counts the requests. */
async function startIssuer(t: Test, answer = keySet(KEY)) {
  let port = 0
  const paths: string[] = []
  const issuer = {
    origin: '',
    answer,
    fetches: () => paths.length,
    /** Waits until it was asked that often, and may have answered. */
    async asked(times: number) {
      for (let i = 0; i < 500 && paths.length < times; i++) await sleep(10)
      await sleep(100)
    },
    paths,
    async up() {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
    },
    down() {
      server.close()
      server.closeAllConnections()
    },
    /** A token that it has signed. */
    token(by: Pair = key, header: { alg?: string; kid?: string } = {}, sub = 'ann'): Promise<string> {
      const now = Math.floor(Date.now() / 1000)
      return new SignJWT({ sub, iss: issuer.origin, aud: issuer.origin, iat: now, exp: now + 86_400 })
        .setProtectedHeader({ alg: 'EdDSA', kid: 'first', ...header })
        .sign(by.privateKey)
    },
  }
  const server = createServer((request, response) => {
    paths.push(request.url ?? '')
    issuer.answer(response)
  })
  await issuer.up()
  t.teardown(() => issuer.down())
  ;({ port } = server.address() as AddressInfo)
  issuer.origin = `http://127.0.0.1:${port}`
  const app = await build(t, { env: { BETTER_AUTH_URL: issuer.origin } })
  return { app, issuer }
}

/** 200, or the code of the refusal. */
async function verdict(app: App, token: string): Promise<number | string> {
  const response = await app.inject({ url: '/me', headers: bearer(token) })
  return response.statusCode === 200 ? 200 : response.json().code
}

/** @returns seconds to wait */
async function unavailable(t: Test, app: App, token: string): Promise<number> {
  const response = await app.inject({ url: '/me', headers: bearer(token) })
  expectProblem(t, response, 503, 'keys_unavailable')
  t.match(response.headers, { 'retry-after': /^[1-9]\d?$/ }, 'it says when to try again')
  t.notOk(response.headers['www-authenticate'], 'the token is not to blame')
  return Number(response.headers['retry-after'])
}

const BIG = { keys: [KEY], padding: 'x'.repeat(MAX_BYTES) }
const FAULTS: Record<string, Answer> = {
  'resets the connection': (response) => response.destroy(),
  'answers 500': send('{"error":"oops"}', 500),
  'answers 500 with its keys': send(JSON.stringify({ keys: [KEY] }), 500),
  'answers 404': send('Not Found', 404),
  'answers 204': send('', 204),
  'answers 304': send('', 304),
  'sends no JSON': send('<!doctype html>'),
  'sends nothing': send(''),
  'sends null': sendJson(null),
  'sends a list': sendJson([KEY]),
  'sends no keys member': sendJson({}),
  'sends malformed keys': sendJson({ keys: [null, 'x'] }),
  'sends no key': keySet(),
  'sends no public key': keySet({ kty: 'oct', k: 'bm90IGEgcHVibGljIGtleQ', kid: 'first', alg: 'HS256' }),
  'sends too much': sendJson(BIG),
  'sends without end': (response) => {
    const more = () => {
      while (response.writable && response.write(' '.repeat(65_536)));
    }
    response.on('drain', more)
    more()
  },
  'breaks off': (response) => {
    response.writeHead(200, { 'content-length': 1000 }).write('{"keys":[')
    setImmediate(() => response.destroy())
  },
  redirects: send('', 302, { location: '/moved' }),
  'redirects for ever': send('', 308, { location: JWKS_PATH }),
  hangs: () => {},
}

for (const [name, fault] of Object.entries(FAULTS)) {
  t.test(`an issuer that ${name}`, async (t) => {
    const { app, issuer } = await startIssuer(t, fault)
    const token = await issuer.token()
    const user = await identity()

    const wait = await unavailable(t, app, token)
    t.equal(await verdict(app, user.token), 200, 'a token signed with the secret needs no key')
    for (let i = 0; i < 20; i++) await verdict(app, token)
    t.equal(issuer.fetches(), 1, 'is not asked on every request')

    issuer.answer = keySet(KEY)
    pass(wait)
    t.equal(await verdict(app, token), 200, 'is trusted as soon as it works')
    t.equal(issuer.fetches(), 2, 'was asked once more')

    issuer.answer = fault
    for (const seconds of [MAX_AGE + 1, MAX_STALE - 3]) {
      pass(seconds)
      t.equal(await verdict(app, token), 200, 'known keys keep working')
      t.equal(
        await verdict(app, await issuer.token(nextKey, { kid: 'next' })),
        'invalid_token',
        'an unknown key is refused',
      )
    }
    for (let i = 0; i < 20; i++) await verdict(app, token)
    t.equal(issuer.fetches(), 4, 'is not asked on every request')
    pass(3)
    await unavailable(t, app, token)

    issuer.answer = keySet(KEY)
    pass(wait)
    t.equal(await verdict(app, token), 200, 'is trusted again')
    t.ok(
      issuer.paths.every((path) => path === JWKS_PATH),
      'no other address is fetched',
    )
  })
}

t.test('an issuer that is down at first', async (t) => {
  const { app, issuer } = await startIssuer(t)
  issuer.down()
  const token = await issuer.token()
  const wait = await unavailable(t, app, token)
  t.equal((await app.inject('/health')).statusCode, 200, '/health is 200')
  t.equal((await app.inject('/ready')).statusCode, 200, 'others are still served')

  await issuer.up()
  pass(wait)
  t.equal(await verdict(app, token), 200, 'its keys work when it is up')
})

t.test('the keys of an issuer that goes down work for an hour past their age', async (t) => {
  const { app, issuer } = await startIssuer(t)
  const token = await issuer.token()
  t.equal(await verdict(app, token), 200, 'its keys work')
  issuer.down()
  for (const seconds of [1, MAX_AGE, MAX_STALE - 2]) {
    pass(seconds)
    t.equal(await verdict(app, token), 200, `its keys work ${seconds} s later`)
  }
  await sleep(200) // until the fetch beside it has failed
  t.equal(await verdict(app, token), 200, 'its keys work, and the token counts as verified')
  pass(2)
  const wait = await unavailable(t, app, token)
  await issuer.up()
  pass(wait)
  t.equal(await verdict(app, token), 200, 'its keys work again')
})

for (const [name, answer] of Object.entries<Answer>({
  'an issuer that does not answer': () => {},
  'an issuer that does not end': (response) => {
    response.write('{"keys":[')
  },
})) {
  t.test(`${name} holds up no other token, and its own for at most six seconds`, async (t) => {
    const { app, issuer } = await startIssuer(t, answer)
    const user = await identity()
    const token = await issuer.token()
    let waiting = true
    const start = performance.now()
    const held = Promise.all(Array.from({ length: 10 }, () => unavailable(t, app, token))).finally(() => {
      waiting = false
    })
    while (issuer.fetches() === 0) await new Promise(setImmediate)
    t.equal(await verdict(app, user.token), 200, "another's token is accepted")
    t.equal((await app.inject('/health')).statusCode, 200, '/health is 200')
    t.equal(
      (await app.inject({ url: '/todos', headers: user.headers })).statusCode,
      200,
      'a request for tasks is 200',
    )
    t.ok(waiting, 'the others were answered first')
    await held
    t.ok(performance.now() - start < 6000, 'within six seconds')
    t.equal(issuer.fetches(), 1, 'it was asked once')
  })
}

t.test('a key set may have up to 256 KiB', async (t) => {
  const { app, issuer } = await startIssuer(t)
  issuer.answer = sendJson({ ...BIG, padding: 'x'.repeat(MAX_BYTES - 1024) })
  t.equal(await verdict(app, await issuer.token()), 200, 'the keys are used')
})

/** Signed with a key that jose does not sign with. */
async function signedAgain(token: Promise<string>, key: KeyObject): Promise<string> {
  const input = (await token).replace(/\.[^.]*$/, '')
  return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`
}

t.test('keys that must not be used', async (t) => {
  const secret = 'nM4kT8wQ2xZ6vB0cL5jH9gF3dS7aP1yR'
  const [ec, rsa, weak, p521] = await Promise.all([
    newKey('ES256'),
    newKey('RS256'),
    newKey('RS256', { modulusLength: 2048 }),
    newKey('ES512'),
  ])
  const short = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const { app, issuer } = await startIssuer(t)
  const { x } = await jwk(ec)
  issuer.answer = keySet(
    KEY,
    { kty: 'oct', k: Buffer.from(secret).toString('base64url'), kid: 'oct', alg: 'HS256' },
    { kty: 'oct', k: Buffer.from(secret).toString('base64url'), kid: 'oct-any' },
    { ...(await exportJWK(nextKey.privateKey)), kid: 'private', alg: 'EdDSA' },
    { ...short.publicKey.export({ format: 'jwk' }), kid: 'short', alg: 'RS256' },
    await jwk(nextKey, { kid: 'twice', alg: 'EdDSA' }),
    await jwk(key, { kid: 'twice', alg: 'EdDSA' }),
    await jwk(rsa, { kid: 'pss', alg: 'PS256' }),
    await jwk(rsa, { kid: 'rs512', alg: 'RS512' }),
    await jwk(weak, { kid: 'encrypts', alg: 'RS256', use: 'enc' }),
    await jwk(weak, { kid: 'signs', alg: 'RS256', key_ops: ['sign'] }),
    await jwk(ec, { kid: 'off-curve', alg: 'ES256', y: x }),
    await jwk(p521, { kid: 'curve', alg: 'ES256' }),
    { kty: 'EC', crv: 'P-256', kid: 'hollow', alg: 'ES256' },
    { kty: 'RSA', n: '', e: 'AQAB', kid: 'no-modulus', alg: 'RS256' },
    { kid: 'nothing' },
  )

  const hs256 = (kid: string) =>
    new SignJWT({
      sub: 'ann',
      iss: issuer.origin,
      aud: issuer.origin,
      exp: Math.floor(Date.now() / 1000) + 60,
    })
      .setProtectedHeader({ alg: 'HS256', kid })
      .sign(Buffer.from(secret))
  const rows: [string, Promise<string>][] = [
    ['oct', hs256('oct')],
    ['oct without alg', hs256('oct-any')],
    ['oct kid, EdDSA', issuer.token(key, { kid: 'oct' })],
    ['private', issuer.token(nextKey, { kid: 'private' })],
    ['RSA of 1024 bits', signedAgain(issuer.token(rsa, { alg: 'RS256', kid: 'short' }), short.privateKey)],
    ['duplicate kid, the first', issuer.token(nextKey, { kid: 'twice' })],
    ['duplicate kid, the second', issuer.token(key, { kid: 'twice' })],
    ['RS256 by a key for PS256', issuer.token(rsa, { alg: 'RS256', kid: 'pss' })],
    ['RS256 by a key for RS512', issuer.token(rsa, { alg: 'RS256', kid: 'rs512' })],
    ['key for encryption', issuer.token(weak, { alg: 'RS256', kid: 'encrypts' })],
    ['key for signing only', issuer.token(weak, { alg: 'RS256', kid: 'signs' })],
    ['point that is not on the curve', issuer.token(ec, { alg: 'ES256', kid: 'off-curve' })],
    ['another curve', issuer.token(ec, { alg: 'ES256', kid: 'curve' })],
    ['no point', issuer.token(ec, { alg: 'ES256', kid: 'hollow' })],
    ['no modulus', issuer.token(rsa, { alg: 'RS256', kid: 'no-modulus' })],
    ['no type', issuer.token(key, { kid: 'nothing' })],
    ['no kid, two keys', issuer.token(key, { kid: undefined })],
  ]
  for (const [name, token] of rows) t.equal(await verdict(app, await token), 'invalid_token', name)
  t.equal(await verdict(app, await issuer.token()), 200, 'the good one beside them works')
  t.equal(issuer.fetches(), 1, 'the issuer was asked once')
})

t.test('200 unknown kids cause one fetch in 30 s', async (t) => {
  const { app, issuer } = await startIssuer(t)
  t.equal(await verdict(app, await issuer.token()), 200, 'a known key works')
  const flood = async (name: string, most: number) => {
    const tokens = await Promise.all(
      Array.from({ length: 100 }, (_, i) => issuer.token(nextKey, { kid: `${name}-${i}` })),
    )
    const before = issuer.fetches()
    const verdicts = await Promise.all(tokens.map((token) => verdict(app, token)))
    for (const token of tokens) verdicts.push(await verdict(app, token))
    t.same(new Set(verdicts), new Set(['invalid_token']), `${name}: all are refused`)
    t.ok(issuer.fetches() - before <= most, `${name}: ${issuer.fetches() - before} fetches`)
    t.equal(await verdict(app, await issuer.token()), 200, 'known keys keep working')
  }

  await flood('at once', 0)
  pass(COOL_DOWN - 1)
  await flood('too early', 0)
  pass(2)
  await flood('later', 1)
  await flood('again', 0)
  for (const name of ['answers 500', 'sends no JSON', 'resets the connection']) {
    pass(COOL_DOWN + 1)
    issuer.answer = FAULTS[name] as Answer
    await flood(name, 1)
  }
})

t.test('no connection is kept alive that the issuer might close just as it is used again', async (t) => {
  const connections: unknown[] = []
  const { app, issuer } = await startIssuer(t, (response) => {
    connections.push(response.req.headers.connection)
    keySet(KEY)(response)
  })
  t.equal(await verdict(app, await issuer.token()), 200, 'the keys are used')
  t.same(connections, ['close'], 'the connection is not kept')
})

t.test('200 requests at once share the first fetch', async (t) => {
  const { app, issuer } = await startIssuer(t)
  const tokens = await Promise.all(
    Array.from({ length: 200 }, (_, i) => issuer.token(key, {}, `ann-${i % 10}`)),
  )
  const verdicts = await Promise.all(tokens.map((token) => verdict(app, token)))
  t.same(new Set(verdicts), new Set([200]), 'all are accepted')
  t.equal(issuer.fetches(), 1, 'the issuer was asked once')
})

t.test('a rotated key works after 30 s, and the one it replaces no longer than 10 min', async (t) => {
  const { app, issuer } = await startIssuer(t)
  const [first, next] = await Promise.all([issuer.token(), issuer.token(nextKey, { kid: 'next' })])
  t.equal(await verdict(app, first), 200, 'the first key works')
  t.equal(await verdict(app, next), 'invalid_token', 'not yet published')

  issuer.answer = keySet(NEXT, KEY)
  pass(COOL_DOWN + 1)
  t.equal(await verdict(app, next), 200, 'at the first try')
  t.equal(await verdict(app, first), 200, 'both are published')

  issuer.answer = keySet(NEXT)
  pass(MAX_AGE + 1)
  t.equal(await verdict(app, first), 'invalid_token', 'the key that is no longer published is refused')
  t.equal(await verdict(app, next), 200, 'the new one works')

  issuer.answer = keySet()
  pass(MAX_AGE + 1)
  t.equal(await verdict(app, next), 200, 'an empty key set is no answer: the known key works')

  issuer.answer = keySet(await jwk(nextKey, { kid: 'first', alg: 'EdDSA' }))
  pass(COOL_DOWN + 1)
  t.equal(await verdict(app, first), 'invalid_token', 'the same kid, another key')
  t.equal(await verdict(app, await issuer.token(nextKey)), 200, 'the new key under the old kid works')
})

t.test('an issuer that stops answering holds up no token with a known key', async (t) => {
  const { app, issuer } = await startIssuer(t)
  const token = await issuer.token()
  t.equal(await verdict(app, token), 200, 'its keys work')
  const held = new Set<ServerResponse>()
  issuer.answer = (response) => {
    held.add(response)
    response.on('close', () => held.delete(response))
  }
  for (const [i, seconds] of [REFRESH_AGE + 1, 60, 60, 60].entries()) {
    pass(seconds)
    for (let j = 0; j < 3; j++) t.equal(await verdict(app, token), 200, `${seconds} s later they work`)
    await issuer.asked(i + 2)
    t.equal(held.size, 1, 'while the issuer is still being asked')
    t.equal(issuer.fetches(), i + 2, 'once')
    for (const response of held) response.destroy()
    await sleep(100)
  }
})

t.test('a failing issuer is asked less and less often, and for an unknown key every 30 s', async (t) => {
  const { app, issuer } = await startIssuer(t)
  const [token, next] = await Promise.all([issuer.token(), issuer.token(nextKey, { kid: 'next' })])
  t.equal(await verdict(app, token), 200, 'its keys work')
  issuer.answer = FAULTS['answers 500'] as Answer
  pass(MAX_AGE)
  t.equal(await verdict(app, token), 200, 'known keys keep working')
  for (const [i, seconds] of [5, 10, 20, 40, 60, 60].entries()) {
    pass(seconds - 1)
    t.equal(await verdict(app, token), 200, 'known keys keep working')
    await sleep(20)
    t.equal(issuer.fetches(), i + 2, `it is not asked for ${seconds} s`)
    pass(1)
    t.equal(await verdict(app, token), 200, 'known keys keep working')
    await issuer.asked(i + 3)
  }

  pass(COOL_DOWN)
  issuer.answer = keySet(NEXT)
  t.equal(await verdict(app, next), 200, 'a rotated key is found although the next attempt is not due')
  t.equal(await verdict(app, token), 'invalid_token', 'and the removed one is refused')
})

t.test('a removed key is refused after an idle time, even if the issuer failed before it', async (t) => {
  const { app, issuer } = await startIssuer(t)
  const token = await issuer.token()
  t.equal(await verdict(app, token), 200, 'its keys work')
  issuer.answer = FAULTS['answers 500'] as Answer
  pass(MAX_AGE + 1)
  t.equal(await verdict(app, token), 200, 'known keys keep working')
  issuer.answer = keySet(NEXT)
  pass(1800)
  t.equal(
    await verdict(app, token),
    'invalid_token',
    'the first request fetches the keys before it is answered',
  )
})

t.test('keys stay fresh while nobody asks, for an hour', async (t) => {
  const due: { call: () => void; at: number }[] = []
  const { setTimeout } = globalThis
  t.teardown(() => (globalThis.setTimeout = setTimeout))
  globalThis.setTimeout = Object.assign((call: () => void, ms: number) => {
    if (ms >= 60_000) due.push({ call, at: Date.now() + ms })
    return setTimeout(call, ms)
  }, setTimeout)
  const { app, issuer } = await startIssuer(t)
  const token = await issuer.token()
  t.equal(await verdict(app, token), 200, 'its keys work')
  for (let i = 0; i < 7; i++) {
    pass(REFRESH_AGE)
    for (const { call, at } of due.splice(0)) if (at <= Date.now()) call()
    await issuer.asked(i + 2)
    t.equal(issuer.fetches(), i + 2, 'they are fetched again every eight minutes')
  }
  t.equal(due.length, 1, 'by one timer')
  pass(REFRESH_AGE)
  for (const { call } of due.splice(0)) call()
  await sleep(100)
  t.equal(issuer.fetches(), 8, 'after an hour it is left alone')
})

t.test('an issuer without keys at first', async (t) => {
  const { app, issuer } = await startIssuer(t, keySet())
  const token = await issuer.token()
  await unavailable(t, app, token)
  issuer.answer = keySet(KEY)
  pass(COOL_DOWN + 1)
  t.equal(await verdict(app, token), 200, 'a published key works')
})

t.test('JWKS_URL is asked instead of the address made from BETTER_AUTH_URL', async (t) => {
  const { issuer } = await startIssuer(t)
  const env = { BETTER_AUTH_URL: issuer.origin, JWKS_URL: `${issuer.origin}/keys?v=1` }
  const app = await build(t, { env })
  t.equal(await verdict(app, await issuer.token()), 200, 'the keys are used')
  t.same(issuer.paths, ['/keys?v=1'], 'no other address was fetched')
})
