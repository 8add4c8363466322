import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import pg from 'pg'
import t, { type Test } from 'tap'
import { connect, type Database } from '../../src/database/index.ts'
import { SlowUsers } from '../../src/database/slow-users.ts'
import type { UserScope } from '../../src/isolation/index.ts'
import { Tasks } from '../../src/tasks.ts'
import { build, type Identity, identity } from '../helper/app.ts'
import { migratedUrl, openDatabase } from '../helper/database.ts'
import { openProxy } from '../helper/proxy.ts'
import { scopeOf, slow } from '../helper/sql.ts'

const skip = !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'

t.test('a database that suddenly goes silent', { skip }, async (t) => {
  const proxy = await openProxy(t, await migratedUrl())
  const database = await connect({ url: proxy.url, statementTimeout: 3000 })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const users = await Promise.all(Array.from({ length: 200 }, () => identity()))
  const call = async (method: 'GET' | 'POST', { headers }: Identity) => {
    const payload = method === 'POST' ? { title: 'x' } : undefined
    const response = await app.inject({ method, url: '/todos', headers, payload })
    return response.statusCode < 300 ? 'answered' : response.json().code
  }
  // More of each than can be in flight at once.
  const callMany = async (): Promise<string[]> => {
    const reads = [...users, ...users, ...users, ...users].map((user) => call('GET', user))
    const writes = users.slice(0, 70).map((user) => call('POST', user))
    return [...new Set(await Promise.all([...reads, ...writes]))]
  }

  t.same(await callMany(), ['answered'], 'all are answered at first')
  const answers = callMany()
  proxy.block()
  // Writes that were sent by then may have been done.
  const codes = ['database_unavailable', 'outcome_unknown']
  t.same((await answers).toSorted(), codes, 'no request waits for ever')
  proxy.unblock()
  // While the database is known to be silent, it is asked once a second whether it answers again.
  const [someone] = users as [Identity]
  for (let i = 0; i < 100 && (await call('GET', someone)) !== 'answered'; i++) await sleep(50)
  t.same(await callMany(), ['answered'], 'the next ones use new connections')
})

t.test('what changes too many tasks says so, and changes none', { skip }, async (t) => {
  const url = await migratedUrl()
  const database = await connect({ url, statementTimeout: 300 })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const { headers } = await identity('busy')
  await app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x', completed: true } })
  const holder = new pg.Client({ connectionString: url })
  await holder.connect()
  t.teardown(() => holder.end())
  await holder.query('begin; select from tasks for update')
  for (const [method, payload] of [['DELETE'], ['PATCH', { title: 'y' }]] as const) {
    const answer = await app.inject({ method, url: '/todos?completed=true', headers, payload })
    t.match(
      answer.json(),
      { status: 503, code: 'database_unavailable', detail: /choose fewer tasks/ },
      method,
    )
  }
  await holder.query('rollback')
  const { body } = await app.inject({ url: '/todos', headers })
  t.match(JSON.parse(body), [{ title: 'x' }])
})

t.test('no request waits for a connection that is long in being made', { skip }, async (t) => {
  const proxy = await openProxy(t, await migratedUrl())
  const database = await connect({ url: proxy.url, statementTimeout: 500 })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const { headers } = await identity()
  const list = () => app.inject({ url: '/todos', headers })
  const connected = async () => {
    for (let i = 0; i < 500 && database.state().idle === 0; i++) await sleep(10)
    return database.state().idle
  }
  proxy.slowDown(700) // which is less than the connection has
  const code = 'database_unavailable'
  t.match((await list()).json(), { status: 503, code }, 'it is refused in time')
  t.equal(await connected(), 1, 'and the connection is there for the next one')
  proxy.slowDown(0)
  for (let i = 0; i < 100 && (await list()).statusCode !== 200; i++) await sleep(50)
  t.equal((await list()).statusCode, 200)
})

t.test('what waits for a connection ends when the service does', { skip }, async (t) => {
  const proxy = await openProxy(t, await migratedUrl())
  const database = await connect({ url: proxy.url })
  t.teardown(() => database.close())
  proxy.slowDown(200)
  const waiting = database.run([slow(database)])
  await sleep(100)
  database.interrupt()
  await t.rejects(waiting, { message: /shutting down/ })
})

t.test('a waiting statement holds up no later one, and many hold up no reads', { skip }, async (t) => {
  const url = await migratedUrl()
  const database = await connect({ url, poolMax: 3 })
  t.teardown(() => database.close())
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
  const toggle = () =>
    app
      .inject({ method: 'PATCH', url: `/todos/${id}/toggle`, headers: ann.headers })
      .finally(() => (waits = false))
  const toggled = [toggle()]
  await sleep(100)
  for (let i = 0; i < 5; i++) {
    const added = { method: 'POST', url: '/todos', headers: ben.headers, payload: { title: 'y' } } as const
    t.equal((await app.inject(added)).statusCode, 201, 'a later write is answered')
  }
  t.ok(waits, 'the toggle still waits')
  for (let i = 0; i < 20; i++) {
    toggled.push(toggle())
    await sleep(10)
    t.equal(
      (await app.inject({ url: '/todos', headers: ben.headers })).statusCode,
      200,
      'a later read is answered',
    )
  }
  t.ok(waits, 'the toggles still wait')
  await other.query('rollback')
  for (const { statusCode } of await Promise.all(toggled))
    t.equal(statusCode, 200, 'every toggle is eventually answered')
})

t.test('one user with many blocked writes leaves connections to the others', { skip }, async (t) => {
  const url = await migratedUrl()
  const TIMEOUT_MS = 2000
  const database = await connect({ url, poolMax: 4, statementTimeout: TIMEOUT_MS })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const [ann, ben] = [await identity(), await identity()]
  const add = (headers: object, title: string) =>
    app.inject({ method: 'POST', url: '/todos', headers: { ...headers }, payload: { title } })
  const { id } = (await add(ann.headers, 'x')).json()

  const other = new pg.Client({ connectionString: url })
  await other.connect()
  t.teardown(() => other.end())
  await other.query('begin')
  await other.query('select from tasks where id = $1 for update', [id])

  let answered = 0
  const toggles = Array.from({ length: 50 }, async () => {
    const { statusCode } = await app.inject({
      method: 'PATCH',
      url: `/todos/${id}/toggle`,
      headers: ann.headers,
    })
    answered += 1
    return statusCode
  })
  for (let i = 0; i < 10; i++) t.equal((await add(ben.headers, 'y')).statusCode, 201, 'another is served')
  t.equal(answered, 0, 'while all of the first wait')
  const late = sleep(10 * TIMEOUT_MS, [0], { ref: false }) // some still wait
  const codes = await Promise.race([Promise.all(toggles), late])
  t.same(new Set(codes), new Set([503]), 'each of the first ends in time, not one after the other')
})

t.test('many users with blocked writes leave connections to the others', { skip }, async (t) => {
  const url = await migratedUrl()
  const database = await connect({ url })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const add = async ({ headers }: Identity) => {
    const response = await app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } })
    t.equal(response.statusCode, 201, 'a task is added')
    return response.json().id as number
  }
  const someone = await identity()
  const users = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const user = await identity()
      return { ...user, id: await add(user) }
    }),
  )
  for (let i = 0; i < 50; i++) await add(someone) // what is usual here

  const locker = new pg.Client({ connectionString: url })
  await locker.connect()
  t.teardown(() => locker.end())
  await locker.query('begin')
  await locker.query('select from tasks where user_id <> $1 for update', [someone.id])
  let answered = 0
  const toggles = users.map(async ({ id, headers }) => {
    const { statusCode } = await app.inject({ method: 'PATCH', url: `/todos/${id}/toggle`, headers })
    answered += 1
    return statusCode
  })
  // The first of them hold every connection for a moment, before it is known that they wait for a lock.
  for (let i = 0; i < 5; i++) await add(someone)
  t.equal(answered, 0, 'while all of the others still wait')
  await locker.query('rollback')
  t.same(new Set(await Promise.all(toggles)), new Set([200]), 'a lock that ends in time fails nobody')
})

t.test(
  'once a write waits for a lock, or behind another write, it is given less time',
  { skip },
  async (t) => {
    const url = await migratedUrl()
    const database = await connect({ url })
    t.teardown(() => database.close())
    const locker = new pg.Client({ connectionString: url })
    await locker.connect()
    t.teardown(() => locker.end())
    await locker.query(`create function note() returns trigger language plpgsql as
    $$ begin new.title = current_setting('lock_timeout'); return new; end $$;
    create trigger note before insert on tasks for each row execute function note()`)
    const [ann, someone] = [
      new Tasks(await scopeOf(database, 'ann')),
      new Tasks(await scopeOf(database, 'someone')),
    ]
    const { id, title } = await ann.create({ title: 'x' })
    t.equal(title, '20ms')
    const titles = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const user = new Tasks(await scopeOf(database, `user-${i}`))
        return (await user.create({ title: 'x' })).title
      }),
    )
    t.same(new Set(titles), new Set(['20ms', '2ms']), 'those behind others')
    await locker.query('begin; select from tasks for update')
    const toggled = ann.toggle(id)
    while (database.state().kinds.blocked.underWay === 0) await sleep(1)
    t.equal((await someone.create({ title: 'x' })).title, '2ms')
    await locker.query('rollback')
    await toggled
    await sleep(1000)
    t.equal((await someone.create({ title: 'x' })).title, '20ms', 'for a second')
  },
)

t.test('writes that waited for the lock of a table go on together when it ends', { skip }, async (t) => {
  const url = await migratedUrl()
  const proxy = await openProxy(t, url)
  const database = await connect({ url: proxy.url, statementTimeout: 4000 })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const users = await Promise.all(Array.from({ length: 100 }, () => identity()))
  proxy.slowDown(50)
  const locker = new pg.Client({ connectionString: url })
  await locker.connect()
  t.teardown(() => locker.end())
  await locker.query('begin')
  await locker.query('lock table tasks in share mode')
  const payload = { title: 'x' }
  const added = users.map(({ headers }) => app.inject({ method: 'POST', url: '/todos', headers, payload }))
  await sleep(2000)
  await locker.query('rollback')
  const statuses = (await Promise.all(added)).map(({ statusCode }) => statusCode)
  t.same(new Set(statuses), new Set([201]), 'none is left until its time is over')
  const { rows } = await locker.query('select count(*)::int as count from tasks')
  t.same(rows, [{ count: users.length }], 'and each is done once')
})

t.test('who waited for a lock in vain shares no connection with others next time', { skip }, async (t) => {
  const url = await migratedUrl()
  const database = await connect({ url, statementTimeout: 1000 })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const users = await Promise.all(Array.from({ length: 10 }, () => identity()))
  const locker = new pg.Client({ connectionString: url })
  await locker.connect()
  t.teardown(() => locker.end())
  await locker.query('begin')
  await locker.query('lock table tasks in share mode')
  const addAll = () =>
    users.map(({ headers }) =>
      app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } }),
    )
  const statuses = (await Promise.all(addAll())).map(({ statusCode }) => statusCode)
  t.same(new Set(statuses), new Set([503]), 'more than can wait at once')
  const again = addAll()
  await sleep(10)
  t.equal(database.state().kinds.writes.underWay, 0, 'not even of those whose turn had not come')
  await locker.query('rollback')
  for (const { statusCode } of await Promise.all(again)) t.equal(statusCode, 201)
})

t.test('what others send waits behind no more than four reads of a user', { skip }, async (t) => {
  const database = await connect({ url: await migratedUrl() })
  t.teardown(() => database.close())
  const ann = await scopeOf(database, 'ann')
  const someone = await scopeOf(database, 'someone')
  const read = (scope: UserScope) => new Tasks(scope).list({ limit: 1, skip: 0 })
  const reads = () => database.state().kinds.reads
  const theirs = Array.from({ length: 8 }, () => read(ann))
  t.match(reads(), { connections: 2, underWay: 8 }, 'the fifth has another connection')
  theirs.push(read(someone))
  t.match(reads(), { connections: 2, underWay: 9 }, 'while those of several users share one')
  await Promise.all(theirs)
})

t.test('a statement has no help of other processes of PostgreSQL', { skip }, async (t) => {
  const database = await connect({ url: await migratedUrl() })
  t.teardown(() => database.close())
  const { rows } = await database.asLogin((db) => sql`show max_parallel_workers_per_gather`.execute(db))
  t.same(rows, [{ max_parallel_workers_per_gather: '0' }])
})

t.test('on a distant database nobody is slow, though many share a connection', async (t) => {
  const slow = new SlowUsers()
  const FAR_MS = 120
  for (let now = 0; now < 1000 * FAR_MS; now += FAR_MS) {
    slow.record('first', { ms: FAR_MS, alone: true, quickBefore: -1, now })
    for (let i = 0; i < 30; i++) slow.record('behind', { ms: 1, alone: false, quickBefore: -1, now })
    if (slow.has('first')) return t.fail('a journey there and back counts as slow')
  }
  slow.record('other', { ms: 20 * FAR_MS, alone: false, quickBefore: -1, now: 0 })
  t.ok(slow.has('other'), 'but who takes ten times as long is')
})

t.test('a write that lost its connection waits for a lock like any other', { skip }, async (t) => {
  const url = await migratedUrl()
  const proxy = await openProxy(t, url)
  const database = await connect({ url: proxy.url })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const ann = await identity()
  const locker = new pg.Client({ connectionString: url })
  await locker.connect()
  t.teardown(() => locker.end())
  const add = "insert into tasks (user_id, title) values ($1, 'x') returning id"
  const { rows } = await locker.query(add, [ann.id])
  await locker.query('begin')
  await locker.query('select from tasks where user_id = $1 for update', [ann.id])
  proxy.cutAfter(1) // while it is connected
  const toggle = { method: 'PATCH', url: `/todos/${rows[0]?.id}/toggle`, headers: ann.headers } as const
  const toggled = app.inject(toggle).then(({ statusCode }) => statusCode)
  await sleep(500)
  await locker.query('rollback')
  t.equal(await toggled, 200)
  t.equal(proxy.connections(), 2, 'the first connection was lost')
})

t.test('a long list whose turn does not come is refused', { skip }, async (t) => {
  const { answers, locker } = await longListsOf(20, t)
  const first = await Promise.race(answers)
  t.match(first.json(), { status: 503, code: 'busy' }, 'one at the end is refused')
  t.equal(first.headers['retry-after'], '1', 'and is told when to ask again')
  await locker.query('rollback')
  const statuses = (await Promise.all(answers)).map(({ statusCode }) => statusCode)
  t.equal(statuses[0], 200, 'the one at the front is answered')
  t.same(new Set(statuses), new Set([200, 503]), 'no other failure')
})

t.test('a long list waits no longer behind exports', async (t) => {
  const database = await openDatabase(t)
  const answered = Promise.withResolvers<unknown[][]>()
  let asked = 0
  const run: Database['run'] = () => {
    asked += 1
    return answered.promise
  }
  const app = await build(t, { env: { LOCAL_AUTH: 'off' }, database: { ...database, run } })
  const users = await Promise.all(Array.from({ length: 20 }, () => identity()))
  const exports = users.map(({ headers }) => app.inject({ url: '/me/export', headers }))
  const { headers } = await identity()
  const list = await app.inject({ url: '/todos?limit=1000', headers })
  t.match(list.json(), { status: 503, code: 'busy' })
  t.ok(asked < users.length, `when ${asked} of the exports in front of it had their turn`)
  answered.resolve([[]])
  for (const { statusCode } of await Promise.all(exports)) t.equal(statusCode, 200, 'each export has its own')
})

t.test('a long list whose turn cannot come in time is refused at once', { skip }, async (t) => {
  const { answers, locker } = await longListsOf(250, t)
  const first = await Promise.race(answers.map((answer, i) => answer.then(() => i)))
  t.ok(first >= 200, 'others have come before it')
  t.match((await answers[first])?.json(), { status: 503, code: 'busy' })
  await locker.query('rollback')
  await Promise.all(answers)
})

/** What that many users get who each ask for a long list, while the table is locked. */
async function longListsOf(count: number, t: Test) {
  const url = await migratedUrl()
  const database = await connect({ url })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const users = await Promise.all(Array.from({ length: count }, () => identity()))
  const locker = new pg.Client({ connectionString: url })
  await locker.connect()
  t.teardown(() => locker.end())
  await locker.query('begin')
  await locker.query('lock table tasks in access exclusive mode')
  const answers = users.map(({ headers }) => app.inject({ url: '/todos?limit=1000', headers }))
  return { answers, locker }
}
