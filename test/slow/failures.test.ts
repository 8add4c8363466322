import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { SECRET } from '../helper/app.ts'
import {
  CLI,
  emptyFolder,
  fails,
  NOWHERE,
  PASSWORD,
  PRODUCTION,
  run,
  runServer,
  start,
} from '../helper/child.ts'
import { embeddedUrl } from '../helper/database.ts'
import { listen } from '../helper/http.ts'

t.test('a taken port', async (t) => {
  const port = await listen(t, createServer())
  const server = runServer(t, { ...PRODUCTION, DATABASE_URL: NOWHERE, PORT: String(port) })
  await fails(t, server, new RegExp(`Port ${port} is taken`))
})

t.test('an unwritable data directory', async (t) => {
  const file = join(emptyFolder(t), 'file')
  writeFileSync(file, '')
  for (const location of [join(file, 'data'), file, '/proc/taskward']) {
    await fails(t, runServer(t, { DATABASE_URL: `pglite:${location}` }), new RegExp(RegExp.escape(location)))
  }
})

t.test('a data directory that PostgreSQL cannot use', async (t) => {
  for (const [file, content, sentence] of [
    ['PG_VERSION', '17\n', /does not start: .*initialized by PostgreSQL version 17.*Restore a copy/],
    ['global/pg_control', 'x', /does not start: .*pg_control.*Restore a copy/],
  ] as const) {
    const DATABASE_URL = await embeddedUrl()
    writeFileSync(join(DATABASE_URL.slice('pglite:'.length), file), content)
    await fails(t, runServer(t, { DATABASE_URL }), sentence)
  }
})

t.test('no database', async (t) => {
  const sentence = /database does not answer .*DATABASE_URL/
  await fails(t, runServer(t, { DATABASE_URL: NOWHERE }), sentence)
  await fails(t, run(t, [CLI, 'migrate'], { DATABASE_URL: NOWHERE }), sentence)
})

t.test('a wrong password', async (t) => {
  const DATABASE_URL = `postgres://ada:${PASSWORD}@127.0.0.1:${await listen(t, refusingPostgres())}/tasks`
  const sentence = /password authentication failed for user "ada".*DATABASE_URL/
  await fails(t, runServer(t, { DATABASE_URL }), sentence)
  await fails(t, run(t, [CLI, 'migrate'], { DATABASE_URL }), sentence)

  const server = await start(t, { ...PRODUCTION, DATABASE_URL })
  t.equal((await fetch(`${server.url}/health`)).status, 200, 'in production it starts')
  const ready = await fetch(`${server.url}/ready`)
  t.equal(ready.status, 503, '/ready is 503')
  t.notMatch(await ready.text(), /\bada\b|password/, '/ready names neither user nor password')
})

t.test('a missing or invalid address for migrate', async (t) => {
  await fails(t, run(t, [CLI, 'migrate']), /DATABASE_URL is not set: postgres:.* embedded/)
  const DATABASE_URL = `mysql://ada:${PASSWORD}@127.0.0.1/tasks`
  await fails(t, run(t, [CLI, 'migrate'], { DATABASE_URL }), /DATABASE_URL.* is neither/)
})

t.test('nothing to sign with, or for', async (t) => {
  const token = (variables: Record<string, string>, ...args: string[]) =>
    run(t, [CLI, 'token', ...args], variables)
  const BETTER_AUTH_SECRET = SECRET
  await fails(t, token({}), /BETTER_AUTH_SECRET/)
  await fails(t, token({ BETTER_AUTH_URL: 'https://app.example.com' }), /BETTER_AUTH_SECRET/)
  await fails(t, token({ BETTER_AUTH_SECRET }, '--days', 'x'), /--days/)
})

t.test('no command, an unknown one, or an unknown option', async (t) => {
  for (const args of [[], ['migrat'], ['toString'], ['token', '--sbu', 'ada']]) {
    const command = args.join(' ') || 'no command'
    const { code, stdout, stderr } = await run(t, [CLI, ...args]).ended
    t.equal(code, 2, `${command}: exit code 2`)
    t.equal(stdout, '', `${command}: nothing on standard output`)
    t.match(stderr, /Usage:[^]* npm run [^]*token/, `${command}: how to use it`)
    t.notMatch(stderr, /^\s+at /m, `${command}: no stack`)
  }
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
