import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { connect, Multiplexer, parseHosts, Primary } from '../../src/database/index.ts'
import { migrate } from '../../src/migrations/index.ts'
import { type App, build, identity } from '../helper/app.ts'
import { canStartPostgres, startPostgres } from '../helper/cluster.ts'
import { expectProblem } from '../helper/http.ts'
import { slow } from '../helper/sql.ts'

t.test('addresses with several hosts', async (t) => {
  const READ: [address: string, urls: string[], wanted: string][] = [
    ['postgres://u:p@a/db', ['postgres://u:p@a/db'], 'any'],
    ['postgres:///db', ['postgres:///db'], 'any'],
    ['postgres://u@/db?host=/tmp&port=5433', ['postgres://u@/db?host=/tmp&port=5433'], 'any'],
    [
      'postgres://u:p@a/db?target_session_attrs=read-write',
      ['postgres://u:p@a/db?target_session_attrs=read-write'],
      'read-write',
    ],
    [
      'postgres://u:p@a:5432,b:5433/db',
      ['postgres://u:p@a:5432/db', 'postgres://u:p@b:5433/db'],
      'read-write',
    ],
    [
      'postgresql://a,b:1,[::1]:2,[::2]/db?target_session_attrs=any&sslmode=require',
      ['a', 'b:1', '[::1]:2', '[::2]'].map((host) => `postgresql://${host}/db?sslmode=require`),
      'any',
    ],
    ['postgres://u:a,b@c@a,b/db', ['postgres://u:a,b@c@a/db', 'postgres://u:a,b@c@b/db'], 'read-write'],
    [
      'postgres://u@a,b:1/db?port=6432&target_session_attrs=primary',
      ['postgres://u@a:6432/db', 'postgres://u@b:6432/db'],
      'primary',
    ],
    [
      'postgres://u@/db?host=a,/var/run,::1&port=1,2,3',
      ['postgres://u@a:1/db', 'postgres://u@%2Fvar%2Frun:2/db', 'postgres://u@[::1]:3/db'],
      'read-write',
    ],
  ]
  for (const [address, urls, wanted] of READ) t.match(parseHosts(address), { urls, wanted }, address)
  t.equal(parseHosts('postgres://a,b/db?connect_timeout=2').connectTimeout, 2000)

  const REFUSED: [address: string, why: RegExp][] = [
    ['postgres://u:secret@a,,c/db', /^has 3 hosts, and the one at place 2 is not/],
    ['postgres://u:secret@a,b:x/db', /^has 2 hosts, and the one at place 2 is not/],
    ['postgres://u:secret@a,b,c/db?port=1,2', /^has 3 hosts, but 2 ports/],
    ['postgres://u:secret@a/db?port=1,2', /^has 1 hosts, but 2 ports/],
    ['postgres://u:secret@a,b/db?target_session_attrs=standby', /this service writes/],
    ['postgres://u:secret@a/db?target_session_attrs=readwrite', /not any, read-write or primary$/],
  ]
  for (const [address, why] of REFUSED) {
    t.throws(() => parseHosts(address), { message: why }, address)
    t.throws(() => parseHosts(address), { message: /^(?!.*secret)/ }, 'nothing of it is shown')
  }
})

t.test('which host is found', async (t) => {
  const state: Record<string, 'yes' | 'no' | 'silent'> = {}
  const asked: string[] = []
  const ask = async (url: string) => {
    asked.push(url)
    if (state[url] === 'silent') await sleep(2_000)
    if (state[url] !== 'yes') throw new Error('no')
  }
  const moves: string[] = []
  const primary = new Primary(['postgres://a', 'postgres://b', 'postgres://c'], ask, (url) => moves.push(url))
  const [a, b, c] = ['postgres://a', 'postgres://b', 'postgres://c'] as const

  Object.assign(state, { [a]: 'no', [b]: 'yes', [c]: 'yes' })
  t.same(await Promise.all([primary.find(), primary.find()]), [b, b], 'the first that will do')
  t.same(asked.splice(0), [a, b], 'in their order, once for all who ask')
  await primary.find()
  primary.doubt(a)
  await primary.find()
  t.same(asked, [], 'it is asked no more')

  Object.assign(state, { [a]: 'silent', [b]: 'no' })
  primary.doubt(b)
  const start = performance.now()
  t.equal(await primary.find(), c, 'another is found')
  t.ok(performance.now() - start < 1_500, 'without waiting for one that is silent')
  t.same(moves, [c], 'and its users are told')

  Object.assign(state, { [a]: 'no', [b]: 'no', [c]: 'no' })
  primary.doubt(c)
  asked.length = 0
  await t.rejects(primary.find(), { name: 'NoHostError', message: /: a: no; b: no; c: no$/ }, 'none is found')
  await t.rejects(primary.find(), { name: 'NoHostError' }, 'and the next is told the same')
  t.equal(asked.length, 3, 'without a question')
  await sleep(150)
  state[b] = 'yes'
  t.equal(await primary.find(), b, 'until one is')
})

t.test('a connection that others share when it is left', async (t) => {
  const released: boolean[] = []
  const open = async () => {
    const i = released.push(false) - 1
    return { i, release: () => (released[i] = true) } as unknown as pg.PoolClient & { i: number }
  }
  const connections = { connect: open, leave() {}, onLeave() {} }
  const multiplexer = new Multiplexer(connections, 4, 5_000)
  t.teardown(() => multiplexer.close())
  const used: pg.PoolClient[] = []
  const read = (until?: Promise<void>) =>
    multiplexer.run({ writes: false, user: undefined, spent: 0, blocked: false }, async (client) => {
      used.push(client)
      await until
    })
  const answered = Promise.withResolvers<void>()
  const first = read(answered.promise)
  await nextTurn() // it is sent; one that was silent for long would not be shared
  await read()
  t.equal(used[1], used[0], 'it is shared at first')
  connections.onLeave()
  await read()
  t.not(used[2], used[0], 'the next batch takes another')
  t.same(released, [false, true], 'what is under way on it may end')
  answered.resolve()
  await first
  t.same(released, [true, true], 'and then it is given back')
})

const { headers } = await identity()
const add = (app: App, title = 'x') =>
  app.inject({ method: 'POST', url: '/todos', headers, payload: { title } })
const ready = (app: App) => app.inject('/ready')

/** Does something again and again, many times at once, until it is stopped. */
function loop(times: number, act: () => Promise<unknown>) {
  const loops = { isDone: false }
  const one = async () => {
    while (!loops.isDone) await act()
  }
  const all = Promise.all(Array.from({ length: times }, one))
  return async () => {
    loops.isDone = true
    await all
  }
}

/** Somebody who looks after a server. */
async function adminOf(t: Test, url: string) {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => client.end())
  const query = async (sql: string) => (await client.query(sql)).rows
  return {
    query,
    async set(name: string, value: string) {
      await query(`alter system set ${name} = '${value}'`)
      await query('select pg_reload_conf()')
      await sleep(300) // until every session knows
    },
    /** Those of the service. */
    sessions: async () =>
      (await query("select pid from pg_stat_activity where application_name = 'taskward'")).length,
  }
}

// Less than the time after which a connection that nobody uses is closed.
const SOON_MS = 8_000

async function until(t: Test, what: string, isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + SOON_MS
  while (performance.now() < end) {
    if (await isSo()) return void t.pass(what)
    await sleep(50)
  }
  t.fail(`in vain: ${what}`)
}

t.test(
  'a standby that is promoted, and a former primary that stays',
  { skip: !canStartPostgres && 'PostgreSQL is not installed' },
  async (t) => {
    const one = await startPostgres(t)
    const two = await one.startStandby()
    const [first, second] = [await adminOf(t, one.url), await adminOf(t, two.url)]
    await first.set('synchronous_standby_names', '*')
    const hosts = [two, one].map(({ url }) => new URL(url).host).join()
    const url = `postgres://postgres@${hosts}/postgres?target_session_attrs=read-write`
    const database = await connect({ url, applicationName: 'taskward' })
    t.teardown(() => database.close())
    await migrate(database)
    const app = await build(t, { database })
    t.equal((await ready(app)).statusCode, 200, 'it is migrated, though the standby comes first')

    const acknowledged = new Set<string>()
    const statuses = new Set<number>()
    const stopWriting = loop(16, async () => {
      const title = randomUUID()
      const { statusCode } = await add(app, title)
      statuses.add(statusCode)
      if (statusCode === 201) acknowledged.add(title)
      await sleep(5)
    })
    await sleep(300)
    await first.set('default_transaction_read_only', 'on')
    await until(t, 'no host takes writes', async () => (await ready(app)).json().code === 'read_only')
    expectProblem(t, await add(app), 503, 'database_unavailable', 'a write')
    await second.query('select pg_promote()')
    await until(t, 'the service writes again', async () => (await add(app)).statusCode === 201)
    await stopWriting()
    t.same(statuses.difference(new Set([201, 503])), new Set(), 'nothing but 201 and 503')
    const there = new Set((await second.query('select title from tasks')).map(({ title }) => title))
    t.same(acknowledged.difference(there), new Set(), `${acknowledged.size} acknowledged, none is lost`)
    t.equal((await ready(app)).statusCode, 200, '/ready is 200')
    await until(t, 'the former primary is left', async () => (await first.sessions()) === 0)

    // Readers would not notice.
    const stopReading = loop(4, () => database.run([slow(database, 0.003)]))
    t.ok((await second.sessions()) > 0, 'the sessions are those of the other')
    await first.set('synchronous_standby_names', '')
    await first.set('default_transaction_read_only', 'off')
    await second.set('default_transaction_read_only', 'on')
    const answers = await Promise.all(Array.from({ length: 40 }, () => add(app)))
    t.same(new Set(answers.map(({ statusCode }) => statusCode)), new Set([201]), 'back again, nobody notices')
    t.equal((await ready(app)).statusCode, 200, '/ready is 200')
    await until(t, 'the second is left as well', async () => {
      await ready(app) // has a connection of its own
      return (await second.sessions()) === 0
    })
    await stopReading()

    await one.stop()
    await until(t, '/ready says what is left', async () => (await ready(app)).json().code === 'read_only')
  },
)
