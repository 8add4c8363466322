import { existsSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { identity } from '../helper/app.ts'
import { type Child, PRODUCTION, start } from '../helper/child.ts'
import { embeddedUrl, migratedUrl } from '../helper/database.ts'
import { openProxy } from '../helper/proxy.ts'
import { tasksOver } from '../helper/tasks.ts'

// What is killed for want of an end has another exit code, and leaves the lock of its data directory behind.

const skip = !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'
const { headers } = await identity('starter')
const { add } = tasksOver(headers)
const authorization = `Authorization: ${headers.authorization}`

function socketTo(t: Test, url: string): Socket {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

// The longest of them takes 4.5 seconds.
async function stop(t: Test, server: Child, what = '') {
  const start = performance.now()
  const { code } = await server.stop()
  t.equal(code, 0, `exit code 0 ${what}`)
  const ms = performance.now() - start
  t.ok(ms < 6_000, `within 6 seconds: ${Math.round(ms)} ms`)
}

for (const [name, hold] of Object.entries({
  'a connection that says nothing': () => {},
  'a header that never ends': (socket) => socket.write('GET /todos HTTP/1.1\r\nHost: x\r\n'),
  'a body that never ends': (socket) =>
    socket.write(
      `POST /todos HTTP/1.1\r\nHost: x\r\n${authorization}\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{`,
    ),
  'answers that are not read': (socket) => {
    socket.pause()
    for (let i = 0; i < 50; i++) socket.write(`GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n`)
  },
} satisfies Record<string, (socket: Socket) => unknown>)) {
  t.test(`${name} does not keep the process from its end`, async (t) => {
    const DATABASE_URL = await embeddedUrl()
    const server = await start(t, { ...PRODUCTION, DATABASE_URL })
    hold(socketTo(t, server.url))
    await sleep(300)
    await stop(t, server)
    t.notOk(existsSync(join(DATABASE_URL.slice('pglite:'.length), 'holder.pid')), 'the database was closed')
  })
}

t.test('a signal that npm hands on as well counts once', async (t) => {
  const server = await start(t, { ...PRODUCTION, DATABASE_URL: await embeddedUrl() })
  server.process.kill('SIGTERM')
  await sleep(200)
  await stop(t, server, 'with the same signal')
  const patient = await start(t, { ...PRODUCTION, DATABASE_URL: await embeddedUrl() })
  patient.process.kill('SIGINT')
  await sleep(1_200)
  t.equal((await patient.stop('SIGINT')).code, 1, 'a later one ends it at once')
  t.match(patient.stdout, 'second SIGINT, exiting')
})

t.test('a proxy has time to send its requests elsewhere', async (t) => {
  const server = await start(t, { ...PRODUCTION, DATABASE_URL: await embeddedUrl() })
  t.equal((await fetch(`${server.url}/ready`)).status, 200, '/ready is 200')
  const ended = server.stop()
  await sleep(500)
  const ready = await fetch(`${server.url}/ready`)
  t.equal(ready.status, 503, '/ready is 503 after the signal')
  t.equal((await add(server.url, 'late')).status, 201, 'what comes all the same is answered')
  t.equal((await ended).code, 0, 'exit code 0')
})

t.test('a database that does not answer', { skip }, async (t) => {
  for (const patient of [true, false]) {
    const proxy = await openProxy(t, await migratedUrl())
    const server = await start(t, { ...PRODUCTION, DATABASE_URL: proxy.url })
    t.equal((await add(server.url, 'before')).status, 201, 'it works before')
    proxy.block()
    const controller = new AbortController()
    const { signal } = controller
    const answers = Array.from({ length: 20 }, () =>
      fetch(`${server.url}/todos`, { headers, signal }).then(
        ({ status }) => status,
        () => 'gone',
      ),
    )
    await sleep(300)
    if (!patient) controller.abort()
    await stop(t, server, patient ? 'with clients that wait' : 'when the clients have gone')
    if (patient) t.same(new Set(await Promise.all(answers)), new Set([503]), 'those who wait get 503')
  }
})

t.test('rows that are locked', { skip }, async (t) => {
  const DATABASE_URL = await migratedUrl()
  const server = await start(t, { ...PRODUCTION, DATABASE_URL })
  const { id } = (await (await add(server.url, 'locked')).json()) as { id: number }
  const other = new pg.Client({ connectionString: DATABASE_URL })
  await other.connect()
  await other.query('begin')
  await other.query('select from tasks for update')
  const answers = Array.from({ length: 40 }, () =>
    fetch(`${server.url}/todos/${id}/toggle`, { method: 'PATCH', headers }).then(
      ({ status }) => status,
      () => 'reset',
    ),
  )
  await sleep(300)
  await stop(t, server)
  t.same(new Set(await Promise.all(answers)), new Set([503]), 'each of those who wait gets 503')
  await other.end()
})
