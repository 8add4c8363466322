import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import packageJson from '../../package.json' with { type: 'json' }
import { identity, SECRET } from '../helper/app.ts'
import { CLI, emptyFolder, fails, NOWHERE, PRODUCTION, ROOT, run, runServer, start } from '../helper/child.ts'
import { embeddedUrl } from '../helper/database.ts'
import { bearer } from '../helper/http.ts'
import { tasksOver } from '../helper/tasks.ts'

const { headers } = await identity('starter')
const { add, titles } = tasksOver(headers)

/** The first half of a request that creates a task. */
function halfOf(url: string, body: string, sent: number): string {
  const { hostname } = new URL(url)
  return (
    `POST /todos HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: ${headers.authorization}\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, sent)}`
  )
}

const socketTo = (url: string) => connect(Number(new URL(url).port), new URL(url).hostname)

t.test('without any setup, it starts, answers and exits on SIGTERM', async (t) => {
  const server = await start(t, { DATABASE_URL: `pglite:${join(emptyFolder(t), 'new', 'data')}` })
  const health = await fetch(`${server.url}/health`)
  t.equal(health.status, 200, '/health is 200')
  t.same(await health.json(), { status: 'healthy' }, '/health is healthy')
  const ready = await fetch(`${server.url}/ready`)
  t.equal(ready.status, 200, '/ready is 200')
  t.match(await ready.json(), { status: 'ready', database: 'up' }, '/ready has its database')

  const signing = run(t, [CLI, 'token', '--sub', 'ada', '--days', '1'], { BETTER_AUTH_SECRET: SECRET })
  const { code, stdout, stderr } = await signing.ended
  t.equal(code, 0, `a token is signed: ${stderr}`)
  t.match(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/, 'the token and nothing else')
  const me = await fetch(`${server.url}/me`, { headers: bearer(stdout.trim()) })
  t.match(await me.json(), { user_id: 'ada', email: 'ada@example.com' }, 'the token is accepted')

  // Its body comes in two halves, the second after the signal.
  const socket = socketTo(server.url)
  const answer = text(socket)
  const body = JSON.stringify({ title: 'in flight' })
  socket.write(halfOf(server.url, body, 5))
  await sleep(500)
  const signalled = Date.now()
  const stopped = server.stop()
  await sleep(500)
  socket.write(body.slice(5))
  t.match(
    await answer,
    /^HTTP\/1\.1 201 [^]*\r\nconnection: close\r\n[^]*"title":"in flight"/i,
    'a request in flight is answered, and its connection closed',
  )
  t.equal((await stopped).code, 0, 'it exits with code 0')
  const ms = Date.now() - signalled
  t.ok(ms < 10_000, `within 10 s: ${ms} ms`)
  await t.rejects(fetch(`${server.url}/health`), 'nothing answers any more')
})

t.test('nothing that runs only once is optimized', async (t) => {
  // The optimizing compiler begins in the background, and takes memory from its first moment on.
  const script = `
    import { setTimeout } from 'node:timers/promises'
    await import(${JSON.stringify(join(ROOT, 'src/app.ts'))})
    await setTimeout(1500)
    console.log(process.resourceUsage().maxRSS / 1024)`
  const { stdout, stderr } = await run(t, ['--input-type=module', '-e', script], { NODE_OPTIONS: '' }).ended
  t.equal(stderr, '', 'no flag is unknown')
  const megabytes = Number(stdout)
  t.ok(megabytes > 0 && megabytes < 300, `it takes ${megabytes.toFixed(0)} of 300 MB`)
})

t.test('the container runs what npm start runs', async (t) => {
  const command = /^CMD (\[.+\])$/m.exec(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'))?.[1] ?? '[]'
  // Except run.js, which checks the version of Node.js and reads .env: the image has the right one and no .env.
  const expected = `exec ${JSON.parse(command).join(' ').replace(' src/', ' run.js src/')}`
  t.equal(expected, packageJson.scripts.start, 'the same command')
})

t.test('a request that never ends does not keep the process running', async (t) => {
  const server = await start(t, { ...PRODUCTION, DATABASE_URL: NOWHERE })
  const socket = socketTo(server.url)
  socket.on('error', () => {})
  socket.write(halfOf(server.url, '{"title":"x"}', 1))
  await sleep(500)
  const signalled = Date.now()
  await server.stop()
  const ms = Date.now() - signalled
  t.ok(ms < 10_000, `it ends within 10 s: ${ms} ms`)
})

t.test('data survives the process', async (t) => {
  const DATABASE_URL = await embeddedUrl()
  const first = await start(t, { DATABASE_URL })
  t.equal((await add(first.url, 'one')).status, 201, 'a task is created')

  await t.test('one process at a time', async (t) => {
    const directory = RegExp.escape(DATABASE_URL.slice('pglite:'.length))
    const used = new RegExp(`Process ${first.process.pid} uses the database in ${directory}`)
    await fails(t, runServer(t, { DATABASE_URL }), used)
    t.equal((await add(first.url, 'two')).status, 201, 'the first one keeps running')
  })

  t.equal((await first.stop()).code, 0, 'it exits with code 0')
  const second = await start(t, { DATABASE_URL })
  t.equal((await add(second.url, 'three')).status, 201, 'the second process writes')
  await second.stop('SIGKILL')
  const third = await start(t, { DATABASE_URL })
  t.same(await titles(third.url), ['three', 'two', 'one'], 'everything acknowledged is there after SIGKILL')
  t.equal((await third.stop()).code, 0, 'the third ends with exit code 0')
})

t.test('of two that start at once on one directory, one keeps running', async (t) => {
  const DATABASE_URL = await embeddedUrl()
  const both = await Promise.allSettled([start(t, { DATABASE_URL }), start(t, { DATABASE_URL })])
  t.same(both.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'], 'one starts, the other ends')
  for (const server of both) if (server.status === 'fulfilled') await server.value.stop()
})
