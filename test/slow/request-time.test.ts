import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connect, type Database } from '../../src/database/index.ts'
import { build, identity } from '../helper/app.ts'
import { migratedUrl, openDatabase } from '../helper/database.ts'
import { refusal } from '../helper/http.ts'
import { slow } from '../helper/sql.ts'

const skip = !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'

t.test('a statement has what is left of its time', { skip }, async (t) => {
  const TIMEOUT_MS = 2_000
  const database = await connect({ url: await migratedUrl(), statementTimeout: TIMEOUT_MS })
  t.teardown(() => database.close())
  const late = database.run([slow(database, 60)], performance.now() - TIMEOUT_MS + 500)
  const whole = database.run([slow(database, 60)]).catch(() => {})
  await t.rejects(Promise.race([late, whole]), { code: '57014' }, 'it is cancelled first')
  const over = database.run([slow(database, 0)], performance.now() - TIMEOUT_MS)
  await t.rejects(over, { message: /^timeout exceeded/ }, 'without any it is not sent')
  await whole
})

t.test('the time of a request', async (t) => {
  const database = await openDatabase(t)
  const seen: (number | undefined)[] = []
  let pause = Promise.resolve()
  const run: Database['run'] = async (statements, since, sealed) => {
    seen.push(since)
    await pause
    return database.run(statements, since, sealed)
  }
  const app = await build(t, { env: { LOCAL_AUTH: 'off' }, database: { ...database, run } })
  const { headers } = await identity()
  const get = (url: string) => app.inject({ url, headers })

  await get('/todos?count=true')
  t.equal(seen.length, 2, 'two batches')
  t.ok(seen[0] !== undefined && seen[0] === seen[1], 'share it')

  seen.length = 0
  const turn = Promise.withResolvers<void>()
  pause = turn.promise
  const all = Array.from({ length: 9 }, () => get('/todos'))
  await sleep(500)
  t.equal(seen.length, 8, 'the ninth waits')
  turn.resolve()
  await Promise.all(all)
  const [first, ninth] = [seen[0] ?? 0, seen[8] ?? 0]
  t.ok(ninth - first < 450, 'and has less of it afterwards')

  seen.length = 0
  await get('/me/export')
  await app.inject({ method: 'DELETE', url: '/me', headers })
  t.same(new Set(seen), new Set([undefined]), 'each page of an export, and of an erasure, has its own')
})

t.test('a request whose time is over is 503', { skip }, async (t) => {
  const database = await connect({ url: await migratedUrl() })
  t.teardown(() => database.close())
  const run: Database['run'] = (statements) => database.run(statements, performance.now() - 5_000)
  const app = await build(t, { database: { ...database, run } })
  const { headers } = await identity()
  t.same(refusal(await app.inject({ url: '/todos', headers })), [503, 'database_unavailable'])
})

t.test('a request whose time is nearly over ends nobody in front of it', { skip }, async (t) => {
  const database = await connect({ url: await migratedUrl(), poolMax: 1, statementTimeout: 1_000 })
  t.teardown(() => database.close())
  await database.run([slow(database, 0)])
  const before = database.run([slow(database, 0.9)])
  const late = database.run([slow(database, 0)], performance.now() - 900).catch(() => {})
  await t.resolves(before, 'it has its own time')
  await late
})
