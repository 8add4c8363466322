import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { identity } from '../helper/app.ts'
import { type Child, CLI, fails, PASSWORD, PRODUCTION, run, runServer, start } from '../helper/child.ts'
import { databaseUrl, migratedUrl } from '../helper/database.ts'
import { openProxy } from '../helper/proxy.ts'
import { tasksOver } from '../helper/tasks.ts'

const skip = !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'
const { headers } = await identity('starter')
const { add, titles } = tasksOver(headers)

/** The processes of a server with WEB_CONCURRENCY. */
function workersOf({ process: { pid } }: Child): number[] {
  const path = `/proc/${pid}/task/${pid}/children`
  return existsSync(path) ? readFileSync(path, 'utf8').split(' ').filter(Boolean).map(Number) : []
}

t.test('three migrations at once', { skip }, async (t) => {
  const DATABASE_URL = await databaseUrl()
  const migrate = () => run(t, [CLI, 'migrate'], { DATABASE_URL }).ended
  const runs = await Promise.all([migrate(), migrate(), migrate()])
  for (const { code, stderr } of runs) t.same({ code, stderr }, { code: 0, stderr: '' }, 'each succeeds')
  const said = runs.map(({ stdout }) => stdout).toSorted()
  t.match(said, [/^Migrated: 0001_tasks/, /up to date/, /up to date/], 'one migrates, two find nothing to do')
  t.match(await migrate(), { code: 0, stdout: /up to date/ }, 'a fourth finds nothing to do')
})

t.test('a wrong database or user', { skip }, async (t) => {
  const url = new URL(process.env.TEST_DATABASE_URL ?? '')
  url.password = PASSWORD
  url.pathname = 'taskward_no_such_database'
  const sentence = /"taskward_no_such_\w+" does not exist.*DATABASE_URL/
  await fails(t, run(t, [CLI, 'migrate'], { DATABASE_URL: url.href }), sentence)
  await fails(t, runServer(t, { DATABASE_URL: url.href }), sentence)
})

t.test('a database that comes up later, goes down and comes back', { skip }, async (t) => {
  const DATABASE_URL = await databaseUrl()
  t.equal((await run(t, [CLI, 'migrate'], { DATABASE_URL }).ended).code, 0, 'it is migrated')

  const proxy = await openProxy(t, DATABASE_URL)
  await proxy.cut()
  const server = await start(t, { ...PRODUCTION, DATABASE_URL: proxy.url })
  const isDown = async () => {
    t.equal((await fetch(`${server.url}/health`)).status, 200, '/health is 200 without a database')
    for (const path of ['/ready', '/todos']) {
      const response = await fetch(server.url + path, { headers })
      t.equal(response.status, 503, `${path} is 503 without a database`)
      t.match(response.headers.get('retry-after'), /^[1-9]\d*$/, `${path} says when to try again`)
      t.match(await response.json(), { code: 'database_unavailable' }, `${path} says what is down`)
    }
  }
  const isUp = async () => {
    for (let i = 0; i < 300 && (await fetch(`${server.url}/ready`)).status !== 200; i++) await sleep(100)
    t.equal((await fetch(`${server.url}/ready`)).status, 200, '/ready is 200 again')
    t.equal((await add(server.url, 'x')).status, 201, 'a task is made')
  }
  await isDown()
  await proxy.restore()
  await isUp()
  await proxy.cut()
  await isDown()
  await proxy.restore()
  await isUp()
  t.equal(server.process.exitCode, null, 'it was never restarted')
  t.equal((await server.stop()).code, 0, 'it exits with code 0')
})

t.test('several processes', { skip }, async (t) => {
  const variables = { DATABASE_URL: await migratedUrl(), WEB_CONCURRENCY: '2' }
  const server = await start(t, variables)
  await server.printed(/Server listening/, 2)
  await Promise.all(Array.from({ length: 20 }, async (_, i) => add(server.url, `task ${i}`)))
  t.equal((await titles(server.url)).length, 20, 'every write is there')

  const [first = 0, second = 0] = workersOf(server)
  process.kill(first, 'SIGKILL')
  while (workersOf(server).includes(first) || workersOf(server).length < 2) await sleep(50)
  t.ok(workersOf(server).includes(second), 'the other one keeps running')
  t.equal((await titles(server.url)).length, 20, 'and answers')

  const port = new URL(server.url).port
  await fails(t, runServer(t, { ...variables, PORT: port }), /Port \d+ is taken/)

  await server.printed(/Server listening/, 3)
  const { code, stdout, stderr } = await server.stop()
  t.equal(code, 0, 'it exits with code 0')
  t.equal(stderr, '', 'nothing on standard error')
  t.match(
    stdout,
    /"signal":"SIGKILL","msg":"worker exited unexpectedly, restarting"/,
    'the lost one is logged',
  )
  t.same(workersOf(server), [], 'none is left')
})

t.test('SIGTERM reaches several processes while some are still starting', { skip }, async (t) => {
  const server = await start(t, { DATABASE_URL: await migratedUrl(), WEB_CONCURRENCY: '4' })
  const { code, stdout } = await server.stop()
  t.equal(code, 0, 'it exits with code 0')
  t.notMatch(stdout, /killed by timeout/, 'none had to be killed')
  t.same(workersOf(server), [], 'none is left')
})

t.test('production does not migrate by itself', { skip }, async (t) => {
  const server = await start(t, { ...PRODUCTION, DATABASE_URL: await databaseUrl() })
  const ready = await fetch(`${server.url}/ready`)
  t.equal(ready.status, 503, '/ready is 503')
  t.match(await ready.json(), { code: 'not_migrated' }, 'and says why')
})
