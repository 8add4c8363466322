import { connect } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyRequest } from 'fastify'
import type pg from 'pg'
import t, { type Test } from 'tap'
import concurrency from '../../plugins/concurrency.ts'
import { Backlog } from '../../src/database/backlog.ts'
import { type Database, Multiplexer, OverloadedError } from '../../src/database/index.ts'
import { Tasks } from '../../src/tasks.ts'
import { addTasks } from '../helper/accounts.ts'
import { type App, build, type Identity, identity } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { expectProblem, head, refusal, serve } from '../helper/http.ts'
import { statusesOf } from '../helper/limits.ts'
import { scopeOf } from '../helper/sql.ts'

/** An app on a database whose answers are held back until they are let go. */
async function start(t: Test) {
  const db = await database()
  const gate = { held: 0, most: 0, sent: 0, open: Promise.resolve(), letGo: () => {} }
  const hold = () => (gate.open = new Promise((resolve) => (gate.letGo = resolve)))
  const run: Database['run'] = async (...args) => {
    gate.sent += 1
    gate.most = Math.max(gate.most, ++gate.held)
    await gate.open
    return db.run(...args).finally(() => (gate.held -= 1))
  }
  t.teardown(() => gate.letGo())
  return { app: await build(t, { database: { ...db, run } }), gate, hold }
}

const get = (app: App, { headers }: Identity, url = '/todos') => app.inject({ url, headers })
const connectionsOf = ({ server }: App) =>
  new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)))
const times = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i))

t.test('eight requests of a user run at once, a hundred wait', async (t) => {
  const { app, gate, hold } = await start(t)
  const [ada, bob] = [await identity(), await identity()]
  hold()
  const answers = times(108, () => get(app, ada))
  await sleep(200)
  t.equal(gate.sent, 8, 'eight run')
  const refused = await get(app, ada)
  expectProblem(t, refused, 429, 'too_many_at_once')
  t.equal(refused.headers['retry-after'], '1', 'with the time to wait')
  const other = get(app, bob)
  await sleep(100)
  t.equal(gate.sent, 9, 'another user does not wait')
  gate.letGo()
  t.same(new Set(statusesOf(await Promise.all([...answers, other]))), new Set([200]), 'all are answered')
  t.equal(gate.most, 9, 'never more at once')
  t.equal((await get(app, ada)).statusCode, 200, 'and the next')
})

t.test('failures and clients that leave give their place back', async (t) => {
  const { app, gate, hold } = await start(t)
  const { port } = await serve(app)
  const ada = await identity()
  const dial = () => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    socket.write(head('GET /todos HTTP/1.1', `Authorization: Bearer ${ada.token}`))
    return socket
  }
  hold()
  const running = times(8, dial)
  while (gate.sent < 8) await sleep(10)
  const waiting = times(22, dial)
  while ((await connectionsOf(app)) < 30) await sleep(10)
  await sleep(200)
  for (const socket of waiting) socket.destroy()
  while ((await connectionsOf(app)) > 8) await sleep(10)
  for (const socket of running) socket.destroy()
  while ((await connectionsOf(app)) > 0) await sleep(10)
  gate.letGo()
  t.equal(gate.sent, 8, 'those that waited never run')
  for (const url of times(20, () => '/todos/0')) t.equal((await get(app, ada, url)).statusCode, 422, url)
  hold()
  const answers = times(8, () => get(app, ada))
  await sleep(200)
  t.equal(gate.sent, 16, 'eight places are free')
  gate.letGo()
  t.same(new Set(statusesOf(await Promise.all(answers))), new Set([200]), 'and answered')
})

t.test('who waits for too long is told so', async (t) => {
  const { app, gate, hold } = await start(t)
  const ada = await identity()
  hold()
  const answers = times(8, () => get(app, ada))
  await sleep(200)
  t.strictSame(refusal(await get(app, ada)), [503, 'busy'], 'the ninth')
  gate.letGo()
  t.same(new Set(statusesOf(await Promise.all(answers))), new Set([200]), 'the others are answered')
})

t.test('an answer that is read late lets no more run', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const [refused, read] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const gate = { running: 0, run: Promise.withResolvers<void>() }
  app.decorateRequest('user', { getter: () => ({ id: 'ada' }) as never })
  await app.register(concurrency)
  app.addHook('onRequest', app.limitConcurrency)
  const onSend = async ({ headers }: FastifyRequest) => {
    if (!headers['x-late']) return
    refused.resolve()
    await read.promise
  }
  app.get('/', { onSend }, async () => {
    gate.running += 1
    await gate.run.promise.finally(() => (gate.running -= 1))
    return 'done'
  })
  const run = () => times(8, () => app.inject('/'))
  const first = run()
  const late = app.inject({ url: '/', headers: { 'x-late': '1' } })
  await refused.promise
  gate.run.resolve()
  await Promise.all(first)
  gate.run = Promise.withResolvers()
  const second = run()
  await sleep(50)
  read.resolve()
  t.equal((await late).statusCode, 503, 'one waited for too long')
  const third = run()
  await sleep(50)
  t.equal(gate.running, 8, 'eight run, whenever its answer is read')
  gate.run.resolve()
  t.same(new Set(statusesOf(await Promise.all([...second, ...third]))), new Set([200]), 'all are answered')
})

/** Until nobody has asked for a small list for a second. */
const noSmallLists = () => sleep(1000)

t.test('large lists take turns, small ones do not wait for them', async (t) => {
  const { app, gate, hold } = await start(t)
  const users = await Promise.all(times(5, () => identity()))
  await noSmallLists()
  hold()
  const large = users.flatMap((user) => times(3, () => get(app, user, '/todos?limit=101')))
  await sleep(200)
  t.equal(gate.sent, 2, 'two large ones')
  const small = users.map((user) => get(app, user, '/todos?limit=100'))
  await sleep(200)
  t.equal(gate.sent, 7, 'and every small one')
  gate.letGo()
  t.same(new Set(statusesOf(await Promise.all([...large, ...small]))), new Set([200]), 'all are answered')
  hold()
  const before = gate.sent
  const later = users.map((user) => get(app, user, '/todos?limit=101'))
  await sleep(200)
  t.equal(gate.sent, before + 1, 'after small ones, one large one')
  gate.letGo()
  await Promise.all(later)
})

t.test('the large lists that a user has left behind hold up nobody else', async (t) => {
  const { app, gate, hold } = await start(t)
  const { port } = await serve(app)
  const [ada, bob] = [await identity(), await identity()]
  await noSmallLists()
  hold()
  for (let i = 0; i < 6; i++) {
    const socket = connect(port, '127.0.0.1')
    socket.write(head('GET /todos?limit=101 HTTP/1.1', `Authorization: Bearer ${ada.token}`))
    await sleep(20)
    socket.destroy()
  }
  while ((await connectionsOf(app)) > 0) await sleep(10)
  t.equal(gate.sent, 1, 'one is read')
  const large = get(app, bob, '/todos?limit=101')
  await sleep(100)
  t.equal(gate.sent, 2, "and another user's at once")
  gate.letGo()
  t.equal((await large).statusCode, 200, 'which is answered')
})

t.test('a large list that waits for the database holds up no other for long', async (t) => {
  const { app, gate, hold } = await start(t)
  const users = await Promise.all(times(5, () => identity()))
  hold()
  const large = users.map((user) => get(app, user, '/todos?limit=101'))
  for (let i = 0; i < 100 && gate.sent < 5; i++) await sleep(100)
  t.equal(gate.sent, 5, 'all are asked for in the end')
  gate.letGo()
  t.same(new Set(statusesOf(await Promise.all(large))), new Set([200]), 'and answered')
})

t.test('what looks at all tasks of a user runs one after the other', async (t) => {
  const db = await database()
  const asked: (() => void)[] = []
  const run: Database['run'] = async (...args) => {
    const fails = asked.length === 0
    await new Promise<void>((resolve) => asked.push(resolve))
    if (fails) throw new Error('it failed')
    return db.run(...args)
  }
  const held = { ...db, run }
  const [ada, bob] = [new Tasks(await scopeOf(held, 'ada')), new Tasks(await scopeOf(held, 'bob'))]
  const first = t.rejects(ada.stats(), /failed/)
  const rest = [ada.count(), ada.stats(), ada.list({ skip: 0, limit: 1 }), bob.stats()]
  await sleep(50)
  t.equal(asked.length, 3, 'the first, the list, and that of another user')
  for (let i = 0; i < 5; i++) {
    while (i >= asked.length) await sleep(1)
    if (i > 2) t.equal(asked.length, i + 1, 'one more when another has ended')
    asked[i]?.()
  }
  await Promise.all([first, ...rest])
})

t.test('a user is sent one export at a time, and read as fast as it is taken', async (t) => {
  const { app, gate } = await start(t)
  const { port } = await serve(app)
  const [ada, bob] = [await identity(), await identity()]
  await addTasks(ada.id, 12_000, 'x'.repeat(1000))
  const socket = connect(port, '127.0.0.1').pause()
  t.teardown(() => socket.destroy())
  socket.write(head('GET /me/export HTTP/1.1', `Authorization: Bearer ${ada.token}`))
  let before = -1
  while (gate.sent !== before) {
    before = gate.sent
    await sleep(500)
  }
  t.ok(gate.sent > 0 && gate.sent < 22, `${gate.sent} of 24 pages are read: what the kernel takes`)
  const refused = await get(app, ada, '/me/export')
  expectProblem(t, refused, 429, 'too_many_at_once')
  t.equal((await get(app, bob, '/me/export')).statusCode, 200, 'another user gets theirs')
  t.equal((await get(app, ada)).statusCode, 200, 'other requests go on')
  socket.destroy()
  await sleep(100)
  const whole = await get(app, ada, '/me/export')
  t.equal(whole.json().tasks.length, 12_000, 'the next one has all, once the first is gone')
})

t.test('a thousand users at once are all answered', async (t) => {
  const app = await build(t)
  const users = await Promise.all(times(1000, () => identity()))
  const payload = { title: 'x' }
  const created = users.map(({ headers }) => app.inject({ method: 'POST', url: '/todos', headers, payload }))
  const listed = users.map((user) => get(app, user))
  t.same(new Set(statusesOf(await Promise.all(created))), new Set([201]), 'those that write')
  t.same(new Set(statusesOf(await Promise.all(listed))), new Set([200]), 'and those that read')
})

t.test('what would wait in vain for the database is refused before its body is read', async (t) => {
  const db = await database()
  const ada = await identity()
  const isOverloaded: Database['isOverloaded'] = (user, writes) => user === ada.id && writes
  const app = await build(t, { database: { ...db, isOverloaded } })
  const post = ({ headers }: Pick<Identity, 'headers'>) =>
    app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 5 } })
  const refused = await post(ada)
  expectProblem(t, refused, 503, 'busy')
  t.equal(refused.headers['retry-after'], '1', 'with the time to wait')
  t.equal((await get(app, ada)).statusCode, 200, 'what has room is answered')
  t.equal((await post(await identity())).statusCode, 422, 'and so are others')
  t.equal((await app.inject({ method: 'POST', url: '/todos' })).statusCode, 401, 'a token is needed still')
  t.equal((await app.inject('/health')).statusCode, 200)
})

t.test('at most 2,000 batches of a kind should wait for a connection', async (t) => {
  const never = new Promise<never>(() => {})
  const multiplexer = new Multiplexer({ connect: () => never, leave: () => {}, onLeave: () => {} }, 8, 60_000)
  t.teardown(() => multiplexer.close())
  const runOne = (user: string, blocked = false) =>
    multiplexer.run({ writes: true, user, spent: 0, blocked }, () => never)
  let users = 0
  const run = (count: number, blocked?: boolean) =>
    times(count, () => void runOne(`user-${users++}`, blocked))
  const measured = () => sleep(150)
  const waiting = () => multiplexer.load.writes.waiting
  for (let i = 0; i < 3000; i++) void runOne('eve')
  const most = waiting() + 2000 - 8 - 1 // of hers eight count
  while (waiting() < most) run(1)
  await measured()
  t.equal(multiplexer.isOverloaded('ada', true), false, 'one more may')
  run(1)
  await measured()
  t.equal(multiplexer.isOverloaded('ada', true), true, 'and no other')
  t.equal(multiplexer.isOverloaded('ada', false), false, 'those of another kind may')
  run(2000, true)
  await t.rejects(runOne('ada', true), OverloadedError, 'as many may wait for a lock')
})

/** A multiplexer of eight connections, which answer one write after the other, and many who write. */
function startWriting(t: Test, answerOne: (connection: number) => Promise<unknown>, count: number) {
  let connections = 0
  const connect = async () => {
    const connection = connections++
    let last: Promise<unknown> = Promise.resolve()
    return {
      release() {},
      answer: () => (last = last.then(() => answerOne(connection))),
    } as unknown as pg.PoolClient
  }
  const answer = (client: pg.PoolClient) => (client as unknown as { answer(): Promise<unknown> }).answer()
  const multiplexer = new Multiplexer({ connect, leave: () => {}, onLeave: () => {} }, 8, 60_000)
  t.teardown(() => multiplexer.close())
  const run = (user: string, blocked = false) =>
    multiplexer.run({ writes: true, user, spent: 0, blocked }, answer)
  const progress = { answered: 0, ended: false }
  const writers = times(count, async (i) => {
    for (; !progress.ended; progress.answered += 1) await run(`user-${i}`)
  })
  return {
    multiplexer,
    run,
    hundred: async () => {
      const after = progress.answered + 100
      while (progress.answered < after) await sleep(1)
    },
    end: () => {
      progress.ended = true
      return Promise.all(writers)
    },
  }
}

t.test('writes use as many connections as the disk can use', async (t) => {
  const fast = startWriting(t, nextTurn, 40)
  await fast.hundred()
  t.equal(fast.multiplexer.load.writes.connections, 3, 'a third, where they are answered at once')
  await fast.end()
  const slow = startWriting(t, () => sleep(3), 40)
  while (slow.multiplexer.load.writes.connections < 7) await slow.hundred()
  t.pass('else all but the one that is left to the reads')
  await slow.end()
})

t.test('where writes use all connections, one that waits for a lock gets the next', async (t) => {
  const { multiplexer, run, end } = startWriting(t, () => sleep(3), 200)
  while (multiplexer.load.writes.connections < 7) await sleep(1)
  t.ok(multiplexer.load.writes.waiting > 0)
  await run('ada', true)
  t.ok(multiplexer.load.writes.underWay > 0, 'while they go on')
  await end()
})

t.test('and if that one is stuck, another', async (t) => {
  const gates = times(7, () => Promise.withResolvers<void>())
  let answered = 0
  // The first connection answers once.
  const answerOne = async (connection: number) => {
    if (connection > 0) return gates[connection]?.promise.then(() => sleep(3))
    if (answered++ > 0) await gates[0]?.promise
  }
  const { multiplexer, run, end } = startWriting(t, answerOne, 200)
  const isServed = run('ada', true).then(() => true)
  while (multiplexer.load.writes.connections < 7) await sleep(1)
  for (const gate of gates.slice(1)) gate.resolve()
  t.equal(await Promise.race([isServed, sleep(5000)]), true, 'it is served')
  gates[0]?.resolve()
  await end()
})

t.test('no more wait than can be served in time', async (t) => {
  const backlog = new Backlog()
  let now = 0
  const ofUsers = (count: number) => times(count, (i) => ({ user: `user-${i}` }))
  /** How many may wait, in hundreds, after a second in which so many were served, one after the other. */
  const roomAfter = (served: number, waiting: number, of = ofUsers) => {
    for (let i = 0; i < 10; i++) {
      for (let j = 0; j < served / 10; j++) backlog.served()
      backlog.measure(of(waiting), (now += 100), 2_500)
    }
    for (let count = 100; ; count += 100) {
      backlog.measure(ofUsers(count), now, 2_500)
      if (backlog.isFull) return count
    }
  }
  const ofOne = (count: number) => times(count, () => ({ user: 'eve' }))
  roomAfter(0, 0)
  t.equal(roomAfter(400, 99), 2000, 'while few wait, nobody knows how many could be served')
  roomAfter(400, 1500)
  t.equal(roomAfter(400, 1500), 1000)
  t.equal(roomAfter(4000, 1500), 2000, 'never more')
  t.equal(roomAfter(10, 1500), 200, 'never fewer')
  t.equal(roomAfter(0, 1500), 200, 'a database that stands still says nothing')
  t.equal(roomAfter(0, 0), 2000, 'nor does one that has served all')
  t.equal(roomAfter(10, 3000, ofOne), 2000, 'nor do the requests of one user')
  backlog.measure(ofOne(3000), now, 2_500)
  t.equal(backlog.isFull, false, 'which keep nobody else out')
})
