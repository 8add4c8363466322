import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { build, identity, mint } from '../helper/app.ts'
import { bearer } from '../helper/http.ts'
import { group, list, ORIGIN, passing, refresh, statusesOf } from '../helper/limits.ts'

/** Ways to claim that a request comes from somewhere else. */
const forgeries = (i: number): Record<string, string>[] => [
  { 'x-forwarded-for': `198.51.100.${i}` },
  { 'x-forwarded-for': `198.51.100.${i}, 10.0.0.1` },
  { 'x-real-ip': `198.51.100.${i}` },
  { forwarded: `for=198.51.100.${i}` },
  { 'cf-connecting-ip': `198.51.100.${i}`, 'true-client-ip': `198.51.100.${i}` },
]
const toTheLeft = (i: number) => `198.51.100.${i}, ${i}, 10.0.0.${i}, 203.0.113.1`
/** An address of one /64 network. */
const host = () => `2001:db8:1:2:${group()}:${group()}:${group()}:${group()}`

t.test('a user has a number of requests in a window', async (t) => {
  const app = await build(t, { env: { RATE_LIMIT_MAX: '3' } })
  const [ada, bob] = [await identity(), await identity()]
  for (const remaining of ['2', '1', '0']) {
    const { statusCode, headers } = await list(app, ada)
    t.equal(statusCode, 200, 'within the limit it is 200')
    t.equal(headers['ratelimit-limit'], '3', 'the limit is in a header')
    t.equal(headers['ratelimit-remaining'], remaining, 'the remaining number is in a header')
    t.match(
      headers['ratelimit-reset'],
      /^([1-9]|[1-5]\d|60)$/,
      'the time until the next window is in a header',
    )
    t.equal(headers['retry-after'], undefined, 'there is no Retry-After')
  }

  const refused = await list(app, ada)
  t.equal(refused.statusCode, 429, 'beyond the limit it is 429')
  t.equal(refused.headers['content-type'], 'application/problem+json; charset=utf-8', 'it is a problem')
  t.match(
    refused.json(),
    {
      title: 'Too Many Requests',
      status: 429,
      detail: /^Too many requests\. Try again in \d+ seconds\.$/,
      code: 'too_many_requests',
      request_id: refused.headers['x-request-id'],
    },
    'its body says when to try again',
  )
  t.match(
    refused.headers,
    {
      'retry-after': /^([1-9]|[1-5]\d|60)$/,
      'ratelimit-limit': '3',
      'ratelimit-remaining': '0',
      'ratelimit-reset': /^([1-9]|[1-5]\d|60)$/,
      'access-control-allow-origin': ORIGIN,
      'access-control-expose-headers': /Retry-After/i,
      'cache-control': 'no-store',
      vary: /Origin/,
    },
    'its headers say so too, and can be read by a page',
  )
  t.equal((await list(app, bob)).statusCode, 200, 'another user has their own')
  const elsewhere = [`/api/${ada.id}/tasks`, '/me', '/todos/stats', '/me/export']
  for (const url of elsewhere) {
    t.equal(
      (await app.inject({ url, headers: ada.headers })).statusCode,
      429,
      `${url} counts with the others`,
    )
  }
})

t.test('the window opens again', async (t) => {
  const app = await build(t, { env: { RATE_LIMIT_MAX: '2', RATE_LIMIT_WINDOW: '1' } })
  const ada = await identity()
  for (let i = 0; i < 2; i++) {
    const started = Date.now()
    const responses = [await list(app, ada), await list(app, ada), await list(app, ada)]
    if (Date.now() - started < 900) {
      t.strictSame(statusesOf(responses), [200, 200, 429], 'two of three pass')
      t.equal(responses[2]?.headers['retry-after'], '1', 'one second to wait')
    }
    await sleep(1100)
  }
  t.equal((await list(app, ada)).statusCode, 200, 'the next window is open')
})

t.test('a user has one limit, from any address', async (t) => {
  const app = await build(t, { env: { RATE_LIMIT_MAX: '10' } })
  const ada = await identity()
  t.equal(await passing(100, (i) => list(app, ada, `203.0.113.${i}`)), 10, 'ten of a hundred pass')
})

t.test('sign-in, sign-up and refresh are counted together, by address', async (t) => {
  const app = await build(t, { env: { AUTH_RATE_LIMIT_MAX: '3' } })
  const attempt = (action: string, remoteAddress: string) =>
    app.inject({ method: 'POST', url: `/api/auth/${action}`, remoteAddress, payload: {} })
  const first = await attempt('signin', '203.0.113.1')
  t.match(first.headers, { 'ratelimit-limit': '3', 'ratelimit-remaining': '2' }, 'an attempt counts')
  t.strictSame(
    statusesOf([await attempt('sign-up', '203.0.113.1'), await attempt('refresh', '203.0.113.1')]),
    [422, 422],
    'attempts pass to validation',
  )
  for (const action of ['signup', 'sign-up', 'register', 'signin', 'sign-in', 'login', 'refresh']) {
    const refused = await attempt(action, '203.0.113.1')
    t.equal(refused.statusCode, 429, action)
    t.equal(refused.json().code, 'too_many_requests', `${action}: the code is too_many_requests`)
    t.match(refused.headers['retry-after'], /^[1-9]\d*$/, `${action}: the time to wait is in a header`)
  }
  t.equal((await attempt('signin', '203.0.113.2')).statusCode, 422, 'another address')
  const ada = await identity()
  t.equal((await list(app, ada, '203.0.113.1')).statusCode, 200, 'users who are signed in')
})

t.test('refused tokens are counted by address', async (t) => {
  const app = await build(t, { env: { AUTH_RATE_LIMIT_MAX: '3' } })
  const ada = await identity()
  const at = '203.0.113.1'
  const refused = (token: string, remoteAddress = at) =>
    app.inject({ url: '/todos', headers: bearer(token), remoteAddress })
  t.equal((await refused('x')).statusCode, 401, 'a malformed token is 401')
  t.equal((await refused(`${ada.token}x`)).statusCode, 401, 'a forged one is 401')
  t.equal((await app.inject({ url: '/me', remoteAddress: at })).statusCode, 401, 'no token is 401')
  const response = await refused('x')
  t.equal(response.statusCode, 429, 'the fourth is 429')
  t.match(response.headers['retry-after'], /^[1-9]\d*$/, 'the time to wait is in a header')
  t.equal((await refused('x', '203.0.113.2')).statusCode, 401, 'another address')
  t.equal((await list(app, ada, at)).statusCode, 200, 'a valid token from the same address')
  t.equal((await refresh(app, at)).statusCode, 401, 'sign-in is counted separately')
})

t.test("an unreachable issuer is not the caller's fault", async (t) => {
  const app = await build(t, { env: { AUTH_RATE_LIMIT_MAX: '2', BETTER_AUTH_URL: 'http://127.0.0.1:9' } })
  const header = Buffer.from('{"alg":"EdDSA","kid":"x"}').toString('base64url')
  const headers = {
    authorization: `Bearer ${header}.${Buffer.from('{"sub":"x"}').toString('base64url')}.AAAA`,
  }
  for (let i = 0; i < 4; i++)
    t.equal((await app.inject({ url: '/todos', headers })).statusCode, 503, 'the issuer is to blame')
})

t.test('blocked users are limited too', async (t) => {
  const app = await build(t, { env: { RATE_LIMIT_MAX: '3' } })
  for (const claims of [{ banned: true }, { disabled: true }]) {
    const token = await mint({ sub: `user-${randomUUID()}`, ...claims })
    const headers = bearer(token)
    t.equal(
      await passing(6, () => app.inject({ url: '/todos', headers })),
      3,
      `three of six pass with ${JSON.stringify(claims)}`,
    )
  }
})

t.test('public routes are not counted', async (t) => {
  const app = await build(t, { env: { RATE_LIMIT_MAX: '1', AUTH_RATE_LIMIT_MAX: '1' } })
  for (const url of ['/', '/health', '/ready', '/openapi.json', '/nowhere']) {
    t.equal(await passing(10, () => app.inject({ url })), 10, url)
  }
  for (const url of ['/todos', '/api/auth/signin']) {
    const preflight = () =>
      app.inject({
        method: 'OPTIONS',
        url,
        headers: { origin: ORIGIN, 'access-control-request-method': 'POST' },
      })
    t.equal(await passing(10, preflight), 10, `preflight of ${url}`)
    t.equal((await preflight()).statusCode, 204, `a preflight of ${url} is 204`)
  }
})

t.test('forwarded addresses', async (t) => {
  t.test('from an untrusted proxy give no new bucket', async (t) => {
    for (const TRUST_PROXY of [undefined, '10.0.0.0/8']) {
      const app = await build(t, { env: { AUTH_RATE_LIMIT_MAX: '3', TRUST_PROXY } })
      for (const kind of forgeries(0).keys()) {
        t.equal(
          await passing(20, (i) => refresh(app, `203.0.113.${kind}`, forgeries(i)[kind])),
          3,
          `three of twenty pass with kind ${kind} of forgery and TRUST_PROXY=${TRUST_PROXY}`,
        )
      }
    }
  })

  t.test('of a trusted proxy: the client before it counts', async (t) => {
    const env = { AUTH_RATE_LIMIT_MAX: '3', TRUST_PROXY: '10.0.0.0/8, 192.0.2.1' }
    for (const peer of ['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.1']) {
      const app = await build(t, { env })
      const from = (forwarded: string) => refresh(app, peer, { 'x-forwarded-for': forwarded })
      t.equal(await passing(5, () => from('203.0.113.1')), 3, peer)
      t.equal((await from('203.0.113.2')).statusCode, 401, 'another client')
      t.equal(
        await passing(20, (i) => from(toTheLeft(i))),
        0,
        'what the client wrote on the left is not trusted',
      )
      t.equal(await passing(20, (i) => from(`${toTheLeft(i)}, 10.9.9.${i}`)), 0, 'two proxies')
    }
  })

  t.test('that are malformed do no harm', async (t) => {
    const app = await build(t, { env: { TRUST_PROXY: '10.0.0.0/8' } })
    for (const forwarded of [
      '',
      ',',
      'unknown',
      '1.2.3.4:80',
      '[::1]:80',
      'fe80::1%eth0',
      '::1/0',
      'x'.repeat(999),
    ]) {
      t.equal((await refresh(app, '10.0.0.1', { 'x-forwarded-for': forwarded })).statusCode, 401, forwarded)
    }
    t.equal(
      (await refresh(app, 'fe80::1%eth0')).statusCode,
      401,
      'an address with a zone counts as that address',
    )
  })

  t.test('that name no address are refused at start', async (t) => {
    for (const TRUST_PROXY of [
      '1',
      'true',
      'false',
      'garbage',
      '10.0.0.0/99',
      '10.0.0.0/8,',
      '10.0.0.1, 2',
      '*',
    ]) {
      await t.rejects(build(t, { env: { TRUST_PROXY } }), { message: /^TRUST_PROXY: / }, TRUST_PROXY)
    }
  })
})

t.test('one network is one address', async (t) => {
  t.test('an IPv6 /64', async (t) => {
    const app = await build(t, { env: { AUTH_RATE_LIMIT_MAX: '3' } })
    t.equal(await passing(1000, () => refresh(app, host())), 3, 'three of a thousand pass')
    t.equal((await refresh(app, '2001:0DB8:0001:0002::')).statusCode, 429, 'in another notation')
    t.equal((await refresh(app, '2001:db8:1:3::1')).statusCode, 401, 'the next network')
  })

  t.test('an IPv4 address in IPv6', async (t) => {
    const app = await build(t, { env: { AUTH_RATE_LIMIT_MAX: '3' } })
    const forms = ['203.0.113.7', '::ffff:203.0.113.7', '::ffff:cb00:7107', '0:0:0:0:0:FFFF:203.0.113.7']
    t.equal(await passing(8, (i) => refresh(app, forms[i % 4] as string)), 3, 'three of eight pass')
    t.equal((await refresh(app, '::ffff:203.0.113.8')).statusCode, 401, 'its neighbour has its own limit')
  })
})
