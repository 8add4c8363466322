import type { Server } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { addTasks } from '../helper/accounts.ts'
import { build, type Identity, identity } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { exchange, head, serve } from '../helper/http.ts'

const LARGE = '/todos?limit=1000'

/** An app that listens, and how many batches its database has been sent so far. */
async function start(t: Test) {
  const db = await database()
  const sent = { batches: 0 }
  const app = await build(t, {
    database: { ...db, run: (...args) => ((sent.batches += 1), db.run(...args)) },
  })
  const ada = await identity()
  await addTasks(ada.id, 1000)
  const { port } = await serve(app)
  const getAs = ({ token }: Identity, path: string, ...fields: string[]) =>
    head(`GET ${path} HTTP/1.1`, `Authorization: Bearer ${token}`, ...fields)
  const get = (path: string, ...fields: string[]) => getAs(ada, path, ...fields)
  // Of ten users, so that the bound on each of them is not reached.
  const users = await Promise.all(Array.from({ length: 10 }, () => identity()))
  const large = async (count: number) => {
    for (const { id } of users) await addTasks(id, 1000)
    return Array.from({ length: count }, (_, i) => getAs(users[i % 10] as Identity, LARGE)).join('')
  }
  return { app, port, sent, get, getAs, large }
}

function dial(t: Test, port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

t.test('pipelined requests are answered one after the other', async (t) => {
  const { port, get, sent } = await start(t)
  const paths = [...Array.from({ length: 99 }, (_, i) => `/todos?limit=1&skip=${i}`), '/health']
  const { body } = await exchange(
    port,
    paths.map((path) => get(path)).join('') + get('/me', 'Connection: close'),
  )
  const titles = [...body.matchAll(/"title":"task (\d+)"/g)].map(([, n]) => Number(n))
  t.same(
    titles,
    Array.from({ length: 99 }, (_, i) => 1000 - i),
    'each has its answer, in their order',
  )
  t.match(body, /"status":"healthy".*"authenticated":true/s, 'whatever the route')
  t.equal(sent.batches, 99, 'each ran once')
})

t.test('more pipelined requests than wait are refused', async (t) => {
  const { port, get, getAs } = await start(t)
  const users = await Promise.all(Array.from({ length: 150 }, () => identity()))
  const all = users.map((user) => getAs(user, '/me')).join('')
  const { body } = await exchange(port, `${all}${get('/me', 'Connection: close')}`)
  const count = (text: string) => body.split(text).length - 1
  const [answered, refused] = [count('"authenticated":true'), count('"code":"too_many_at_once"')]
  t.ok(refused > 0, `with 429: ${refused}`)
  t.ok(answered >= 101, 'all that wait are answered')
  t.equal(answered + refused, 151, 'none is lost')
})

t.test('what is not read is not made', async (t) => {
  const { port, large, sent } = await start(t)
  const socket = dial(t, port).pause()
  socket.write(await large(80))
  let before = -1
  while (sent.batches !== before) {
    before = sent.batches
    await sleep(500)
  }
  t.ok(sent.batches < 70, `${sent.batches} of 80 lists are made: what the kernel takes, and one more`)
  socket.resume()
  while (sent.batches < 80) await sleep(50)
  t.pass('the others once they are read')
})

t.test('a client that leaves has its waiting requests forgotten', async (t) => {
  const { port, large, sent } = await start(t)
  const socket = dial(t, port).pause()
  socket.write(await large(80))
  while (sent.batches === 0) await sleep(10)
  socket.destroy()
  await sleep(500)
  t.ok(sent.batches < 70, `${sent.batches} of 80 ran`)
})

t.test('a connection on which nothing moves is cut', async (t) => {
  const { app, port, get } = await start(t)
  t.equal(app.server.timeout, 65_000, 'a minute after the longest statement')
  app.server.setTimeout(1_500)
  const [idle, silent, slow] = [dial(t, port), dial(t, port), dial(t, port)]
  idle.resume().write(get('/health'))
  silent.pause().write(get(LARGE).repeat(80))
  slow.pause().write(get(LARGE).repeat(80))
  while ((await connectionsOf(app)) < 3) await sleep(10)

  let bytes = 0
  const begin = performance.now()
  while (bytes < 80 * 180_000) {
    bytes += (slow.read() as Buffer | null)?.length ?? 0
    await sleep(20)
  }
  t.ok(performance.now() - begin > 3_000, 'a slow reader takes longer than the time-out, and gets all')
  t.equal(await connectionsOf(app), 2, 'one that does not read is gone, an idle one and the slow one are not')
})

const connectionsOf = ({ server }: { server: Server }) =>
  new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)))
