import { setTimeout as sleep } from 'node:timers/promises'
import type { LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import { type App, build, type Identity, identity } from '../helper/app.ts'
import { group, list, passing, refresh, statusesOf } from '../helper/limits.ts'
import { openProxy } from '../helper/proxy.ts'
import { canStartRedis, forget, hasRedis, redis, REDIS_URL, startRedis } from '../helper/redis.ts'

const NOT_WORKING = 'Redis does not work: until it does, this instance counts by itself'

async function until(condition: () => boolean): Promise<boolean> {
  for (let i = 0; i < 200 && !condition(); i++) await sleep(50)
  return condition()
}

/** An app that counts in Redis, and the warnings it logged. */
async function withRedis(t: Test, REDIS_URL: string, env: Record<string, string> = {}) {
  const warnings: string[] = []
  const app = await build(t, {
    env: { REDIS_URL, ...env },
    onLog: (line) => {
      const { level, msg } = JSON.parse(line) as { level: string; msg: string }
      if (level === 'warn' || level === 'error') warnings.push(msg)
    },
  })
  const limits = async () => (await app.inject('/ready')).json<{ limits: string }>().limits
  return { app, warnings, limits }
}

/** Redis has this long to count a request; then the instance counts it by itself. */
const PATIENCE_MS = 100

/** How many requests of a user pass, sent in turn to the apps. All are counted in Redis: a try that was kept waiting is repeated. */
async function passingShared(t: Test, apps: App[], count: number, user?: Identity) {
  for (let tries = 0; tries < 20; tries++) {
    await until(() => apps.every(({ limits }) => limits === 'shared'))
    const asker = user ?? (await identity())
    forget(t, asker.id)
    let slowest = 0
    const passed = await passing(count, async (i) => {
      const sent = performance.now()
      const response = await list(apps[i % apps.length] as App, asker)
      slowest = Math.max(slowest, performance.now() - sent)
      return response
    })
    if (slowest < PATIENCE_MS) return { passed, asker }
  }
  throw new Error('Redis kept a request waiting in each of 20 tries')
}

t.test('with Redis', { skip: !hasRedis && `no Redis at ${REDIS_URL}` }, async (t) => {
  t.test('instances share the limits', async (t) => {
    const env = { RATE_LIMIT_MAX: '6', AUTH_RATE_LIMIT_MAX: '4' }
    const [one, two] = [await withRedis(t, REDIS_URL, env), await withRedis(t, REDIS_URL, env)]
    t.ok(await until(() => one.app.limits === 'shared' && two.app.limits === 'shared'), 'both count in Redis')
    t.strictSame([await one.limits(), await two.limits()], ['shared', 'shared'], 'both say so')
    const { passed, asker: ada } = await passingShared(t, [one.app, two.app], 10)
    t.equal(passed, 6, 'a user has six requests on both together')
    const bob = await identity()
    const network = `2001:db8:${group()}:${group()}`
    forget(t, bob.id, network.replaceAll(/:0+(?=\w)/g, ':'))

    const turns = (i: number) => (i % 2 ? one.app : two.app)
    t.equal((await list(one.app, bob)).statusCode, 200, 'another user has their own')
    t.equal(
      await passing(10, (i) => refresh(turns(i), `${network}::${i}`)),
      4,
      'an address has four attempts on both together',
    )
    const refused = await list(two.app, ada)
    t.match(
      refused.headers,
      { 'retry-after': /^([1-9]|[1-5]\d|60)$/, 'ratelimit-limit': '6' },
      'the limit and the time to wait are in the headers',
    )
    t.equal(refused.json().code, 'too_many_requests', 'the code is too_many_requests')
    const keys: string[][] = await redis
      .scanStream({ match: `taskward-limit-*${ada.id}*`, count: 1000 })
      .toArray()
    for (const key of keys.flat()) t.ok((await redis.pttl(key)) > 0, 'the counts expire by themselves')
  })

  t.test('ten at once are counted one by one', async (t) => {
    const env = { RATE_LIMIT_MAX: '5' }
    const apps = [await withRedis(t, REDIS_URL, env), await withRedis(t, REDIS_URL, env)]
    t.ok(await until(() => apps.every(({ app }) => app.limits === 'shared')), 'both count in Redis')
    const ada = await identity()
    forget(t, ada.id)
    const responses = await Promise.all(
      apps.flatMap(({ app }) => Array.from({ length: 5 }, () => list(app, ada))),
    )
    t.equal(statusesOf(responses).filter((status) => status === 200).length, 5, 'five of ten pass')
  })

  t.test('that goes down and comes back', async (t) => {
    const proxy = await openProxy(t, REDIS_URL)
    const { app, warnings, limits } = await withRedis(t, proxy.url, { RATE_LIMIT_MAX: '3' })
    t.ok(await until(() => app.limits === 'shared'), 'it counts in Redis')
    const { passed, asker: ada } = await passingShared(t, [app], 4)
    t.equal(passed, 3, 'three of four pass')

    warnings.length = 0
    await proxy.cut()
    t.ok(await until(() => app.limits === 'redis_down'), 'it sees that Redis is gone')
    const started = Date.now()
    const responses: Response[] = []
    for (let i = 0; i < 50; i++) responses.push(await list(app, ada))
    t.strictSame(
      statusesOf(responses),
      [...Array(3).fill(200), ...Array(47).fill(429)],
      'the instance counts by itself: three of fifty pass',
    )
    t.ok(Date.now() - started < 50_000, 'in less than a second each')
    t.ok(await until(() => warnings.length > 0), 'it warns')
    t.strictSame(warnings, [NOT_WORKING], 'it warns once')
    t.equal(await limits(), 'redis_down', '/ready says so')

    await proxy.restore()
    t.ok(await until(() => app.limits === 'shared'), 'comes back by itself')
    t.equal(await limits(), 'shared', '/ready says so')
    t.equal((await passingShared(t, [app], 4)).passed, 3, 'three of four pass again')
  })

  t.test('that accepts connections and never answers', async (t) => {
    const proxy = await openProxy(t, REDIS_URL)
    const { app, warnings, limits } = await withRedis(t, proxy.url, { RATE_LIMIT_MAX: '3' })
    t.ok(await until(() => app.limits === 'shared'), 'it counts in Redis')
    const ada = await identity()
    forget(t, ada.id)
    warnings.length = 0
    proxy.block()
    t.equal(await passing(8, () => list(app, ada)), 3, 'the instance counts by itself: three of eight pass')
    t.ok(await until(() => app.limits === 'redis_down'), 'is down')
    t.equal(await limits(), 'redis_down', '/ready says so')
    t.strictSame(warnings, [NOT_WORKING], 'it warns once')
    proxy.unblock()
    t.ok(await until(() => app.limits === 'shared'), 'comes back by itself')
  })
})

t.test('a Redis that', { skip: !canStartRedis && 'redis-server is not installed' }, async (t) => {
  const { url, client } = await startRedis(t)
  const proxy = await openProxy(t, url)
  const FAULTS: Record<string, [breakIt: () => unknown, repair: () => unknown]> = {
    'is a read-only replica': [() => client.replicaof('127.0.0.1', 1), () => client.replicaof('NO', 'ONE')],
    'has no memory left': [
      () => client.config('SET', 'maxmemory', '1'),
      () => client.config('SET', 'maxmemory', '0'),
    ],
    'answers late': [() => proxy.slowDown(150), () => proxy.slowDown(0)],
  }
  for (const [name, [breakIt, repair]] of Object.entries(FAULTS)) {
    await t.test(name, async (t) => {
      const { app, warnings, limits } = await withRedis(t, proxy.url, { RATE_LIMIT_MAX: '5' })
      t.ok(await until(() => app.limits === 'shared'), 'it counts in Redis')
      const { passed, asker: ada } = await passingShared(t, [app], 8)
      t.equal(passed, 5, 'five of eight pass')

      const bob = await identity()
      warnings.length = 0
      await breakIt()
      t.equal(await passing(8, () => list(app, bob)), 5, 'the instance counts by itself: five of eight pass')
      t.ok(await until(() => app.limits === 'redis_down'), 'it sees that Redis does not work')
      t.equal(await limits(), 'redis_down', '/ready says so')
      t.equal(await passing(8, () => list(app, bob)), 0, 'the count goes on')
      t.strictSame(warnings, [NOT_WORKING], 'it warns once')

      await repair()
      t.ok(await until(() => app.limits === 'shared'), 'comes back by itself')
      t.equal((await passingShared(t, [app], 8, ada)).passed, 0, 'the count in Redis is still there')
    })
  }
})

t.test('the service starts without a Redis that answers', async (t) => {
  const { app, warnings, limits } = await withRedis(t, 'redis://127.0.0.1:9', { RATE_LIMIT_MAX: '1' })
  t.ok(await until(() => warnings.length > 0), 'it warns')
  const ada = await identity()
  t.equal(await passing(5, () => list(app, ada)), 1, 'it counts by itself')
  t.equal(await limits(), 'redis_down', '/ready says so')
  t.equal(warnings.length, 1, 'it warns once')
  await t.rejects(
    build(t, { env: { REDIS_URL: 'http://127.0.0.1' } }),
    { message: /^REDIS_URL: / },
    'an invalid address is refused',
  )
})
