import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import packageJson from '../../package.json' with { type: 'json' }
import type { Task } from '../../schemas/task.ts'
import { identity, SECRET } from '../helper/app.ts'
import { databaseUrl } from '../helper/database.ts'
import { openProxy } from '../helper/proxy.ts'

type Variables = Record<string, string>

const VALID = { BETTER_AUTH_SECRET: SECRET, DATABASE_URL: 'pglite:memory', HOST: '127.0.0.1', PORT: '0' }
const PRODUCTION = { NODE_ENV: 'production', FRONTEND_URL: 'https://app.example.com' }
const PASSWORD = 'hunter2hunter2'
const SERVER = resolve('src/server.ts')
const CLI = resolve('src/cli.ts')

t.setTimeout(300_000)
const directory = t.testdir()

interface Run {
  child: ChildProcess
  /** Exit code and all that was written. */
  ended: Promise<{ code: number | null; stdout: string; stderr: string }>
}

function run(t: Test, args: string[], variables: Variables): Run {
  const child = spawn(process.execPath, args, {
    cwd: directory,
    env: variables,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]).then(
    ([stdout, stderr, [code]]) => ({ code: code as number | null, stdout, stderr }),
  )
  return { child, ended }
}

/** Starts the server and waits until it listens. */
async function start(t: Test, variables: Variables = {}): Promise<Run & { url: string; log: () => string }> {
  const server = run(t, [SERVER], { ...VALID, ...variables })
  let log = ''
  const url = await new Promise<string>((listening, failed) => {
    server.child.stdout?.on('data', (chunk) => {
      const [, address] = /Server listening at ([^"]+)"/.exec((log += chunk)) ?? []
      if (address) listening(address)
    })
    server.ended.then(({ stderr }) => failed(new Error(`did not start: ${stderr}`)), failed)
  })
  return { ...server, url, log: () => log }
}

/** The processes of a server with WEB_CONCURRENCY. */
function workersOf({ child: { pid } }: Run): number[] {
  const path = `/proc/${pid}/task/${pid}/children`
  return existsSync(path) ? readFileSync(path, 'utf8').split(' ').filter(Boolean).map(Number) : []
}

/** Waits until so many processes have come to listen. */
async function started({ log }: { log: () => string }, count: number): Promise<void> {
  while (log().split('Server listening').length <= count) await sleep(50)
}

async function stop({ child, ended }: Run, signal: NodeJS.Signals = 'SIGTERM') {
  const since = Date.now()
  child.kill(signal)
  return { ...(await ended), ms: Date.now() - since }
}

/** Expects exit code 1 and one sentence on standard error, soon. */
async function fails(t: Test, { child, ended }: Run, sentence: RegExp) {
  const late = setTimeout(() => child.kill('SIGKILL'), 30_000)
  const { code, stderr } = await ended
  clearTimeout(late)
  t.equal(code, 1)
  t.match(stderr, /^taskward: [^\n]+[^\s]\n$/, 'one line')
  t.match(stderr, sentence)
  t.notOk(stderr.includes(PASSWORD), 'tells no password')
}

async function listen(t: Test, server: Server, port = 0): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const { headers } = await identity('starter')
const tasks = async (url: string) => (await fetch(`${url}/todos`, { headers })).json() as Promise<Task[]>
const add = (url: string, title: string) =>
  fetch(`${url}/todos`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ title }),
  })

t.test('it starts, answers and ends on SIGTERM', async (t) => {
  const server = await start(t)
  const health = await fetch(`${server.url}/health`)
  t.equal(health.status, 200)
  t.same(await health.json(), { status: 'healthy' })
  const ready = await fetch(`${server.url}/ready`)
  t.equal(ready.status, 200)
  t.match(await ready.json(), { status: 'ready', database: 'up' })

  const signing = run(t, [CLI, 'token', '--sub', 'ada', '--days', '1'], { BETTER_AUTH_SECRET: SECRET })
  const { code, stdout, stderr } = await signing.ended
  t.equal(code, 0, stderr)
  t.match(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/, 'the token and nothing else')
  const me = await fetch(`${server.url}/me`, { headers: { authorization: `Bearer ${stdout.trim()}` } })
  t.match(await me.json(), { user_id: 'ada', email: 'ada@example.com' })

  // Its body comes in two halves, the second after the signal.
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  const answer = text(socket)
  const body = JSON.stringify({ title: 'in flight' })
  socket.write(
    `POST /todos HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: ${headers.authorization}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 5)}`,
  )
  await sleep(500)
  const stopped = stop(server)
  await sleep(500)
  socket.write(body.slice(5))
  t.match(
    await answer,
    /^HTTP\/1\.1 201 [^]*\r\nconnection: close\r\n[^]*"title":"in flight"/i,
    'what was in flight is answered, and its connection closed',
  )
  const { code: exitCode, ms } = await stopped
  t.equal(exitCode, 0)
  t.ok(ms < 10_000, `within 10 s: ${ms} ms`)
  await t.rejects(fetch(`${server.url}/health`))
})

t.test('the container runs what npm start runs', async (t) => {
  const command = /^CMD (\[.+\])$/m.exec(readFileSync('Dockerfile', 'utf8'))?.[1] ?? '[]'
  // But for run.js, which tells an older Node.js and reads .env: the image has the right one and no .env.
  t.equal(`exec ${JSON.parse(command).join(' ').replace(' src/', ' run.js src/')}`, packageJson.scripts.start)
})

t.test('a request that never ends does not hold the process', async (t) => {
  const server = await start(t, { ...PRODUCTION, DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' })
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  socket.write(
    `POST /todos HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: ${headers.authorization}\r\n` +
      'Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
  )
  await sleep(500)
  const { ms } = await stop(server)
  t.ok(ms < 10_000, `within 10 s: ${ms} ms`)
})

t.test('data outlives the process', async (t) => {
  const DATABASE_URL = `pglite:${join(directory, 'kept', 'data')}`
  const first = await start(t, { DATABASE_URL })
  t.equal((await add(first.url, 'one')).status, 201)

  await t.test('one process at a time', async (t) => {
    const second = run(t, [SERVER], { ...VALID, DATABASE_URL })
    await fails(t, second, new RegExp(`Process ${first.child.pid} uses the database in \\S+kept/data`))
    t.equal((await add(first.url, 'two')).status, 201, 'the first one goes on')
  })

  t.equal((await stop(first)).code, 0)
  const second = await start(t, { DATABASE_URL })
  t.equal((await add(second.url, 'three')).status, 201)
  await stop(second, 'SIGKILL')
  const third = await start(t, { DATABASE_URL })
  t.same(
    (await tasks(third.url)).map(({ title }) => title),
    ['three', 'two', 'one'],
  )
  t.equal((await stop(third)).code, 0)
})

t.test('two that start at once on one directory: one of them goes on', async (t) => {
  const DATABASE_URL = `pglite:${join(directory, 'contended')}`
  const both = await Promise.allSettled([start(t, { DATABASE_URL }), start(t, { DATABASE_URL })])
  t.same(both.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
  for (const server of both) if (server.status === 'fulfilled') await stop(server.value)
})

t.test('what cannot be had is told in one sentence', async (t) => {
  t.test('a taken port', async (t) => {
    const port = await listen(t, createServer())
    const DATABASE_URL = 'postgres://nobody@127.0.0.1:1/none'
    const server = run(t, [SERVER], { ...VALID, ...PRODUCTION, DATABASE_URL, PORT: String(port) })
    await fails(t, server, new RegExp(`Port ${port} is taken`))
  })

  const file = join(directory, 'file')
  writeFileSync(file, '')
  for (const location of [join(file, 'data'), file, '/proc/taskward']) {
    t.test(`an unwritable data directory: ${location}`, async (t) => {
      await fails(t, run(t, [SERVER], { ...VALID, DATABASE_URL: `pglite:${location}` }), new RegExp(location))
    })
  }

  t.test('no database', async (t) => {
    const DATABASE_URL = `postgres://ada:${PASSWORD}@127.0.0.1:1/none`
    const sentence = /database does not answer .*DATABASE_URL/
    await fails(t, run(t, [SERVER], { ...VALID, DATABASE_URL }), sentence)
    await fails(t, run(t, [CLI, 'migrate'], { DATABASE_URL }), sentence)
  })

  t.test('a wrong password', async (t) => {
    const DATABASE_URL = `postgres://ada:${PASSWORD}@127.0.0.1:${await listen(t, refusingPostgres())}/tasks`
    const sentence = /password authentication failed for user "ada".*DATABASE_URL/
    await fails(t, run(t, [SERVER], { ...VALID, DATABASE_URL }), sentence)
    await fails(t, run(t, [CLI, 'migrate'], { DATABASE_URL }), sentence)

    const server = await start(t, { ...PRODUCTION, DATABASE_URL })
    t.equal((await fetch(`${server.url}/health`)).status, 200)
    const ready = await fetch(`${server.url}/ready`)
    t.equal(ready.status, 503)
    t.notMatch(await ready.text(), /ada|password/)
  })

  t.test('no or another address for migrate', async (t) => {
    await fails(t, run(t, [CLI, 'migrate'], {}), /DATABASE_URL is not set/)
    const DATABASE_URL = `mysql://ada:${PASSWORD}@127.0.0.1/tasks`
    await fails(t, run(t, [CLI, 'migrate'], { DATABASE_URL }), /DATABASE_URL.* is neither/)
  })

  t.test('nothing to sign with, or for', async (t) => {
    const BETTER_AUTH_SECRET = SECRET
    await fails(t, run(t, [CLI, 'token'], {}), /BETTER_AUTH_SECRET/)
    await fails(
      t,
      run(t, [CLI, 'token'], { BETTER_AUTH_URL: 'https://app.example.com' }),
      /BETTER_AUTH_SECRET/,
    )
    await fails(t, run(t, [CLI, 'token', '--days', 'x'], { BETTER_AUTH_SECRET }), /--days/)
    await fails(t, run(t, [CLI, 'token', '--sbu', 'ada'], { BETTER_AUTH_SECRET }), /--sbu/)
  })

  t.test('no command, or an unknown one', async (t) => {
    for (const args of [[], ['migrat'], ['toString']]) {
      const { code, stdout, stderr } = await run(t, [CLI, ...args], {}).ended
      t.equal(code, 1)
      t.equal(stdout, '')
      t.match(stderr, /Usage:[^]*migrate[^]*token/, args.join())
      t.notMatch(stderr, /^\s+at /m)
    }
  })
})

/** Speaks just enough of PostgreSQL's protocol to ask for a password and refuse it. */
function refusingPostgres(): Server {
  const fault = 'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "ada"\0\0'
  return createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write(message('R', Buffer.from([0, 0, 0, 3])))
      socket.once('data', () => socket.end(message('E', Buffer.from(fault))))
    })
  })
}

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

t.test('on PostgreSQL', { skip: !process.env.TEST_DATABASE_URL }, async (t) => {
  t.test('three migrate at once', async (t) => {
    const DATABASE_URL = await databaseUrl()
    const migrate = () => run(t, [CLI, 'migrate'], { DATABASE_URL }).ended
    const runs = await Promise.all([migrate(), migrate(), migrate()])
    for (const { code, stderr } of runs) t.same({ code, stderr }, { code: 0, stderr: '' })
    const said = runs.map(({ stdout }) => stdout).toSorted()
    t.match(said, [/^Migrated: 0001_tasks/, /up to date/, /up to date/])
    t.match(await migrate(), { code: 0, stdout: /up to date/ })
  })

  t.test('a wrong database or user', async (t) => {
    const url = new URL(process.env.TEST_DATABASE_URL ?? '')
    url.password = PASSWORD
    url.pathname = 'taskward_no_such_database'
    const sentence = /"taskward_no_such_\w+" does not exist.*DATABASE_URL/
    await fails(t, run(t, [CLI, 'migrate'], { DATABASE_URL: url.href }), sentence)
    await fails(t, run(t, [SERVER], { ...VALID, DATABASE_URL: url.href }), sentence)
  })

  t.test('a database that comes later, goes and comes back', async (t) => {
    const DATABASE_URL = await databaseUrl()
    t.equal((await run(t, [CLI, 'migrate'], { DATABASE_URL }).ended).code, 0)

    const proxy = await openProxy(t, DATABASE_URL)
    await proxy.cut()
    const server = await start(t, { ...PRODUCTION, DATABASE_URL: proxy.url })
    const isDown = async () => {
      t.equal((await fetch(`${server.url}/health`)).status, 200)
      for (const response of [
        await fetch(`${server.url}/ready`),
        await fetch(`${server.url}/todos`, { headers }),
      ]) {
        t.equal(response.status, 503)
        t.match(response.headers.get('retry-after'), /^[1-9]\d*$/)
        t.match(await response.json(), { code: 'database_unavailable' })
      }
    }
    const isUp = async () => {
      for (let i = 0; i < 50 && (await fetch(`${server.url}/ready`)).status !== 200; i++) await sleep(100)
      t.equal((await fetch(`${server.url}/ready`)).status, 200)
      t.equal((await add(server.url, 'x')).status, 201)
    }
    await isDown()
    await proxy.mend()
    await isUp()
    await proxy.cut()
    await isDown()
    await proxy.mend()
    await isUp()
    t.equal(server.child.exitCode, null, 'it was never restarted')
    t.equal((await stop(server)).code, 0)
  })

  t.test('several processes', async (t) => {
    const variables = { DATABASE_URL: await databaseUrl(), WEB_CONCURRENCY: '2' }
    const server = await start(t, variables)
    await started(server, 2)
    await Promise.all(Array.from({ length: 20 }, async (_, i) => add(server.url, `task ${i}`)))
    t.equal((await tasks(server.url)).length, 20)

    const [first = 0, second = 0] = workersOf(server)
    process.kill(first, 'SIGKILL')
    while (workersOf(server).includes(first) || workersOf(server).length < 2) await sleep(50)
    t.ok(workersOf(server).includes(second), 'the other one goes on')
    t.equal((await tasks(server.url)).length, 20)

    const port = new URL(server.url).port
    await fails(t, run(t, [SERVER], { ...VALID, ...variables, PORT: port }), /Port \d+ is taken/)

    await started(server, 3)
    const { code, stdout, stderr } = await stop(server)
    t.equal(code, 0)
    t.equal(stderr, '')
    t.match(stdout, /"signal":"SIGKILL","msg":"a process ended unasked: starting another"/)
    t.same(workersOf(server), [], 'none is left')
  })

  t.test('several processes are told to end while some are still starting', async (t) => {
    const server = await start(t, { DATABASE_URL: await databaseUrl(), WEB_CONCURRENCY: '4' })
    const { code, stdout } = await stop(server)
    t.equal(code, 0)
    t.notMatch(stdout, /killed by timeout/)
    t.same(workersOf(server), [], 'none is left')
  })

  t.test('production does not migrate by itself', async (t) => {
    const server = await start(t, { ...PRODUCTION, DATABASE_URL: await databaseUrl() })
    const ready = await fetch(`${server.url}/ready`)
    t.equal(ready.status, 503)
    t.match(await ready.json(), { code: 'not_migrated' })
  })
})
