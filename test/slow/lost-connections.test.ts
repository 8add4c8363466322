import { randomUUID } from 'node:crypto'
import { connect as dial, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LightMyRequestResponse as Response } from 'fastify'
import pg from 'pg'
import t, { type Test } from 'tap'
import type { Task } from '../../schemas/task.ts'
import { connect } from '../../src/database/index.ts'
import { build, identity } from '../helper/app.ts'
import { migratedUrl } from '../helper/database.ts'
import { expectProblem, listen } from '../helper/http.ts'
import { openProxy } from '../helper/proxy.ts'

const skip = !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'

/** The service behind a proxy, one user with a task, and another session that can hold up statements. */
async function start(t: Test, statementTimeout = 5000) {
  const url = await migratedUrl()
  const proxy = await openProxy(t, url)
  const database = await connect({ url: proxy.url, poolMax: 4, statementTimeout })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const { headers, id: user } = await identity()
  const send = (method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, payload?: object, key?: string) =>
    app.inject({
      method,
      url: `/todos${path}`,
      headers: { ...headers, ...(key && { 'idempotency-key': key }) },
      payload,
    })
  const { id } = (await send('POST', '', { title: 'x' })).json<Task>()

  const [holder, other] = [url, url].map((connectionString) => new pg.Client({ connectionString }))
  await Promise.all([holder?.connect(), other?.connect()])
  t.teardown(() => Promise.all([holder?.end(), other?.end()]))
  const query = async (text: string) => (await other?.query(text))?.rows ?? []
  const until = async (what: string, text: string) => {
    for (let i = 0; i < 500; i++) {
      const [row] = await query(text)
      if (row && Object.values(row)[0]) return
      await sleep(10)
    }
    t.fail(`in vain: ${what}`)
  }
  return {
    proxy,
    send,
    id,
    user,
    query,
    /** Nobody else gets at the tasks until release(). */
    hold: () => holder?.query('begin; lock table tasks in access exclusive mode'),
    release: () => holder?.query('rollback'),
    /** As many statements wait, and go on waiting: a write gives up at first, and is sent again. */
    waiting: (count = 1) =>
      until(
        `${count} waiting`,
        `select count(*) >= ${count} from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'
           and query_start < clock_timestamp() - interval '100 ms'`,
      ),
    until,
  }
}

function expectUnknown(t: Test, response: Response): void {
  expectProblem(t, response, 503, 'outcome_unknown')
  t.equal(response.headers['retry-after'], undefined, 'nobody is asked to repeat it')
}

function expectUndone(t: Test, response: Response): void {
  expectProblem(t, response, 503, 'database_unavailable')
  t.equal(response.headers['retry-after'], '1', 'it may be repeated')
}

t.test('a write whose answer is lost may have been done, and the answer says so', { skip }, async (t) => {
  const { proxy, send, id, hold, release, waiting, until, query } = await start(t)
  for (const [method, path, payload, done] of [
    ['PATCH', `/${id}/toggle`, undefined, `select completed from tasks where id = ${id}`],
    ['POST', '', { title: 'y' }, "select count(*) = 1 from tasks where title = 'y'"],
    ['DELETE', `/${id}`, undefined, `select count(*) = 0 from tasks where id = ${id}`],
  ] as const) {
    await hold()
    const answer = send(method, path, payload)
    await waiting()
    proxy.block() // what comes back now is lost
    await release()
    await until(`${method} is done`, done)
    proxy.unblock()
    expectUnknown(t, await answer)
    t.equal(Object.values((await query(done))[0])[0], true, `${method} was done, once`)
  }
  await hold()
  const answer = send('POST', '', { title: 'z' })
  await waiting()
  await query(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  )
  expectUnknown(t, await answer)
  await release()
})

t.test('with an Idempotency-Key it is repeated, and not done twice', { skip }, async (t) => {
  const { proxy, send, hold, release, waiting, until, query } = await start(t)
  const key = randomUUID()
  await hold()
  const answer = send('POST', '', { title: 'y' }, key)
  await waiting()
  proxy.block()
  await release()
  await until('it is done', "select count(*) = 1 from tasks where title = 'y'")
  proxy.unblock()
  expectUndone(t, await answer)
  const repeated = await send('POST', '', { title: 'y' }, key)
  t.equal(repeated.statusCode, 201, 'the next is 201')
  t.equal(repeated.headers['idempotency-replayed'], 'true', 'with what the first has made')
  t.match(await query("select id::int from tasks where title = 'y'"), [{ id: repeated.json<Task>().id }])
})

t.test('a read whose connection is lost is read again, once', { skip }, async (t) => {
  const { proxy, send, id, hold, release, waiting } = await start(t)
  await hold()
  const answers = ['', `/${id}`, '/stats'].map((path) => send('GET', path))
  await waiting()
  proxy.unblock() // drops every connection
  await sleep(200)
  await release()
  for (const answer of answers) t.equal((await answer).statusCode, 200, 'nobody notices')

  await hold()
  const twice = send('GET', '')
  await waiting()
  proxy.unblock()
  await sleep(500)
  await waiting()
  proxy.unblock()
  expectUndone(t, await twice)
  await release()
})

t.test('what PostgreSQL itself refuses was not done', { skip }, async (t) => {
  const { send, id, hold, release } = await start(t, 300)
  await hold()
  for (const [method, path, payload] of [
    ['GET', `/${id}`],
    ['POST', '', { title: 'y' }],
    ['PATCH', `/${id}/toggle`],
  ] as const)
    expectUndone(t, await send(method, path, payload))
  await release()
})

t.test('a write that finds no connection is sent again', { skip }, async (t) => {
  const address = new URL(await migratedUrl())
  const { hostname, port } = address
  let refuses = 1
  let connections = 0
  const server = createServer((socket) => {
    connections += 1
    if (refuses-- > 0) return void socket.destroy()
    const to = dial(Number(port || 5432), hostname)
    for (const [one, next] of [
      [socket, to],
      [to, socket],
    ] as const)
      one
        .on('error', () => {})
        .on('close', () => next.destroy())
        .pipe(next)
  })
  address.host = `127.0.0.1:${await listen(t, server)}`
  const database = await connect({ url: address.href, poolMax: 2 })
  t.teardown(() => database.close())
  const app = await build(t, { database })
  const { headers } = await identity()
  const create = () => app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } })
  t.equal((await create()).statusCode, 201, 'one that was refused is no failure')
  t.equal(connections, 2, 'the second connection was taken')

  const unlucky = await connect({ url: address.href, poolMax: 2 })
  t.teardown(() => unlucky.close())
  refuses = 1000
  connections = 0
  const other = await build(t, { database: unlucky })
  expectUndone(t, await other.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } }))
  t.equal(connections, 2, 'it is tried twice, and no more')
})
