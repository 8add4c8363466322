import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import { identity } from '../helper/app.ts'
import { CLI, fails, PASSWORD, PRODUCTION, run, runServer, start } from '../helper/child.ts'
import { databaseUrl } from '../helper/database.ts'
import { openProxy } from '../helper/proxy.ts'
import { tasksOver } from '../helper/tasks.ts'

const skip = !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'
const { headers } = await identity('starter')
const { add } = tasksOver(headers)

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

t.test('a database of another encoding', { skip }, async (t) => {
  const client = new pg.Client({ connectionString: process.env.TEST_DATABASE_URL })
  await client.connect()
  const name = `taskward_test_${process.pid}_ascii`
  t.teardown(async () => {
    await client.query(`drop database ${name} with (force)`)
    await client.end()
  })
  await client.query(`create database ${name} encoding 'SQL_ASCII' locale 'C' template template0`)
  const url = new URL(process.env.TEST_DATABASE_URL ?? '')
  url.pathname = name
  await fails(t, run(t, [CLI, 'migrate'], { DATABASE_URL: url.href }), /refused: .* encoding is UTF8/)
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

t.test('production does not migrate by itself', { skip }, async (t) => {
  const server = await start(t, { ...PRODUCTION, DATABASE_URL: await databaseUrl() })
  const ready = await fetch(`${server.url}/ready`)
  t.equal(ready.status, 503, '/ready is 503')
  t.match(await ready.json(), { code: 'not_migrated' }, 'and says why')
})
