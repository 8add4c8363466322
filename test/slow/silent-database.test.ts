import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Breaker, connect, type Database } from '../../src/database/index.ts'
import { build, identity } from '../helper/app.ts'
import { databaseUrl, migratedUrl } from '../helper/database.ts'
import { refusal } from '../helper/http.ts'
import { openProxy } from '../helper/proxy.ts'
import { slow } from '../helper/sql.ts'

const skip = !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'

t.test('once the database is known to be silent, no request waits for it', { skip }, async (t) => {
  const proxy = await openProxy(t, await migratedUrl())
  const database = await connect({ url: proxy.url, poolMax: 1 })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const list = async () => app.inject({ url: '/todos', headers: (await identity()).headers })
  t.equal((await list()).statusCode, 200, 'it answers at first')

  proxy.block()
  const waiting = { first: true }
  const first = list().finally(() => (waiting.first = false))
  while (waiting.first && !(await Promise.race([list(), sleep(500)])));
  t.ok(waiting.first, 'one is refused long before the time of the first is over')
  for (let i = 0; i < 50; i++) {
    const start = performance.now()
    t.same(refusal(await list()), [503, 'database_unavailable'], 'those after it are refused')
    t.ok(performance.now() - start < 1_000, 'at once')
  }
  database.interrupt()
  t.same(refusal(await first), [503, 'database_unavailable'], 'the first has waited in vain')

  proxy.unblock()
  let statusCode = 0
  for (let i = 0; i < 100 && statusCode !== 200; i++) {
    ;({ statusCode } = await list())
    await sleep(100)
  }
  t.equal(statusCode, 200, 'it goes on by itself')
})

t.test('a slow statement alone does not make the database silent', { skip }, async (t) => {
  const database = await connect({ url: await migratedUrl(), poolMax: 1 })
  t.teardown(() => database.close())
  const sleeping = database.run([slow(database, 3)]) // it is asked twice meanwhile whether it answers at all
  const behind = await database.run([slow(database, 0)])
  t.same([behind.length, (await sleeping).length], [1, 1], 'what waits behind it is answered')
  t.equal((await database.run([slow(database, 0)])).length, 1, 'and so is what comes later')
})

t.test('300 calls of /ready at once', { skip }, async (t) => {
  for (const [what, url, status] of [
    ['not migrated', await databaseUrl(), 503],
    ['migrated', await migratedUrl(), 200],
  ] as const) {
    const proxy = await openProxy(t, url)
    const database = await connect({ url: proxy.url })
    t.teardown(() => database.close())
    let checks = 0
    const check: Database['check'] = (use) => {
      checks += 1
      return database.check(use)
    }
    const app = await build(t, { database: { ...database, check } })
    const answers = await Promise.all(Array.from({ length: 300 }, () => app.inject('/ready')))
    t.same(new Set(answers.map(({ statusCode }) => statusCode)), new Set([status]), what)
    t.same([checks, proxy.connections()], [1, 1], 'one check on one connection answers them all')
    await app.inject('/ready')
    t.equal(checks, status === 200 ? 1 : 2, 'a good answer is kept for a moment')
  }
})

t.test('/ready waits for no request', { skip }, async (t) => {
  const database = await connect({ url: await migratedUrl(), poolMax: 2 })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  let left = 40
  const sleeping = Array.from({ length: left }, () => database.run([slow(database)]).finally(() => left--))
  const over = Promise.allSettled(sleeping)
  await sleep(100)
  t.equal((await app.inject('/ready')).statusCode, 200, 'it is ready')
  t.ok(left > 20, `while ${left} of 40 statements, of half a second each, are under way`)
  database.interrupt()
  await over
})

t.test('while a probe takes long, nothing is said on standard error', async (t) => {
  const warnings: string[] = []
  const listen = ({ name }: Error) => void warnings.push(name)
  process.on('warning', listen)
  t.teardown(() => process.off('warning', listen))
  let probes = 0
  const breaker = new Breaker(async () => {
    probes += 1
    await sleep(1_100)
    throw new Error('no answer')
  })
  t.teardown(() => breaker.close())
  breaker.suspect()
  await sleep(2_000)
  t.equal(probes, 2, 'the next one follows at once')
  t.same(warnings, [], 'Node.js warns of no negative time')
})
