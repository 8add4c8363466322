import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { connect, type Database } from '../../src/database/index.ts'
import { migrate } from '../../src/migrations/index.ts'
import { type App, build, identity } from '../helper/app.ts'
import { canStartPostgres, startPostgres } from '../helper/cluster.ts'
import { migratedUrl } from '../helper/database.ts'
import { expectProblem } from '../helper/http.ts'
import { slow } from '../helper/sql.ts'

const { headers } = await identity()
// Of another user: requests of one wait for each other.
const { headers: reader } = await identity()
const add = (app: App) => app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } })
const list = (app: App) => app.inject({ url: '/todos', headers: reader })
const ready = (app: App) => app.inject('/ready')

async function open(t: Test, url: string): Promise<Database> {
  const database = await connect({ url, poolMax: 6, statementTimeout: 500 })
  t.teardown(() => database.close())
  return database
}

async function adminOf(t: Test, url: string): Promise<pg.Client> {
  const admin = new pg.Client({ connectionString: url })
  admin.on('error', () => {})
  await admin.connect()
  t.teardown(() => admin.end())
  return admin
}

/** Asks again until it is so, for half a minute at most. */
async function until(isSo: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 300 && !(await isSo()); i++) await sleep(100)
  return isSo()
}

t.test(
  'a read-only database',
  { skip: !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL' },
  async (t) => {
    const url = await migratedUrl()
    const admin = await adminOf(t, url)
    const name = new URL(url).pathname.slice(1)
    await admin.query(`alter database ${name} set default_transaction_read_only = on`)

    const database = await open(t, url)
    const app = await build(t, { database })
    expectProblem(t, await ready(app), 503, 'read_only', '/ready')
    t.equal((await list(app)).statusCode, 200, 'tasks are listed')
    t.equal((await add(app)).statusCode, 503, 'a write is 503')

    // A session keeps the setting that it began with, as one of a demoted primary would.
    const opening: Promise<unknown>[] = []
    for (let i = 0; i < 5; i++) {
      opening.push(database.run([slow(database, 0.2)]))
      await sleep(30) // what is silent for as long shares its connection with nobody
    }
    await Promise.all(opening)
    await sleep(1_000)
    await admin.query(`alter database ${name} reset default_transaction_read_only`)
    t.equal((await add(app)).statusCode, 201, 'the next write takes another connection')
    t.equal((await ready(app)).statusCode, 200, 'and so does /ready')
  },
)

const skip = !canStartPostgres && 'PostgreSQL is not installed'

t.test('a lost synchronous standby', { skip }, async (t) => {
  const { url } = await startPostgres(t)
  const database = await open(t, url)
  await migrate(database)
  const app = await build(t, { database })
  const admin = await adminOf(t, url)
  const standBy = async (names: string) => {
    await admin.query(`alter system set synchronous_standby_names = '${names}'`)
    await admin.query('select pg_reload_conf()')
    await sleep(300)
  }
  const waiting = async (): Promise<number> => {
    const { rows } = await admin.query(
      "select count(*)::int as n from pg_stat_activity where wait_event = 'SyncRep'",
    )
    return rows[0].n
  }
  await standBy('gone')
  t.equal((await ready(app)).statusCode, 200, 'it is not known before a write has hung')

  for (let round = 1; round <= 2; round++) {
    const writes = Promise.all(Array.from({ length: 12 }, () => add(app)))
    t.ok(await until(async () => (await waiting()) > 0), 'writes wait for the standby')
    const readers = { isDone: false, statuses: new Set<number>() }
    const read = async () => {
      while (!readers.isDone) {
        readers.statuses.add((await list(app)).statusCode)
        await sleep(1)
      }
    }
    const reading = read()
    for (const response of await writes) expectProblem(t, response, 503, undefined, 'a write')
    await sleep(200)
    readers.isDone = true
    await reading
    t.same([...readers.statuses], [200], 'reads go on')
    expectProblem(t, await ready(app), 503, 'read_only', '/ready')
    t.ok(await until(async () => (await waiting()) === 0), 'PostgreSQL has given the connections back')
  }

  await standBy('')
  t.equal((await add(app)).statusCode, 201, 'without the standby, a write is done')
  t.equal((await ready(app)).statusCode, 200, '/ready is 200')
})

t.test('a hot standby', { skip }, async (t) => {
  const { url, demote } = await startPostgres(t)
  await migrate(await open(t, url))
  await demote()
  const app = await build(t, { database: await open(t, url) })
  t.ok(await until(async () => (await ready(app)).json().code === 'read_only'), '/ready is 503')
  t.equal((await list(app)).statusCode, 200, 'tasks are listed')
})
