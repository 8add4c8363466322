import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import { connect } from '../../src/database/index.ts'
import { build, type Identity, identity } from '../helper/app.ts'
import { migratedUrl } from '../helper/database.ts'
import { openProxy } from '../helper/proxy.ts'

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
