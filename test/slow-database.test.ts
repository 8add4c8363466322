import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import { connect } from '../src/database.ts'
import { build, databaseUrl, identity } from './helper.ts'
import { openProxy } from './proxy.ts'

const skip = !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'

t.test('a database that is silent all at once', { skip }, async (t) => {
  const proxy = await openProxy(t, await databaseUrl())
  const database = await connect({ url: proxy.url, statementTimeout: 500 })
  t.teardown(() => database.close())
  await database.migrate()
  const app = await build(t, { database })
  const { headers } = await identity()
  const list = async () => {
    const response = await app.inject({ url: '/todos', headers })
    return response.statusCode === 200 ? 200 : response.json().code
  }
  const listMany = () => Promise.all(Array.from({ length: 100 }, list))

  t.same(new Set(await listMany()), new Set([200]))
  const answers = listMany()
  proxy.block()
  t.same(new Set(await answers), new Set(['database_unavailable']), 'nobody waits for ever')
  proxy.unblock()
  t.same(new Set(await listMany()), new Set([200]), 'and the next ones take new connections')
})

t.test('a statement that waits holds up nobody who comes later', { skip }, async (t) => {
  const url = await databaseUrl()
  const database = await connect({ url, poolMax: 2 })
  t.teardown(() => database.close())
  await database.migrate()
  const app = await build(t, { database })
  const [ann, ben] = [await identity(), await identity()]
  const { id } = (
    await app.inject({ method: 'POST', url: '/todos', headers: ann.headers, payload: { title: 'x' } })
  ).json()

  const other = new pg.Client({ connectionString: url })
  await other.connect()
  t.teardown(() => other.end())
  await other.query('begin')
  await other.query('select from tasks where id = $1 for update', [id])

  let waits = true
  const toggled = app
    .inject({ method: 'PATCH', url: `/todos/${id}/toggle`, headers: ann.headers })
    .finally(() => (waits = false))
  await sleep(100)
  for (let i = 0; i < 50; i++) {
    t.equal((await app.inject({ url: '/todos', headers: ben.headers })).statusCode, 200)
  }
  t.ok(waits)
  await other.query('rollback')
  t.equal((await toggled).statusCode, 200)
})
