import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, existsSync, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { emptyFolder, NOWHERE, PRODUCTION, runServer } from '../helper/child.ts'
import { freePort } from '../helper/http.ts'

// Long paths make long lines: more than may wait in memory.
const LONG_PATH = `/${'x'.repeat(12_000)}`
const REQUESTS = 1000

/** Starts the server, which needs no database for this, and waits until it answers. */
async function startWith(t: Test, stdout?: number, variables: Record<string, string> = {}) {
  const PORT = String(await freePort(t))
  const server = await runServer(t, { ...PRODUCTION, DATABASE_URL: NOWHERE, PORT, ...variables }, stdout)
  const url = `http://127.0.0.1:${PORT}`
  const exited = once(server.process, 'exit')
  let answered = 0
  const get = async (path: string) => {
    const { status } = await fetch(url + path)
    answered += 1
    return status
  }
  while (!(await get('/health').catch(() => 0))) await sleep(50)
  return {
    stdout: server.process.stdout,
    /** The number of requests that were answered. */
    answered: () => answered,
    /** Has more logged than may wait. */
    async flood(t: Test) {
      const statuses = new Set<number>()
      for (let sent = 0; sent < REQUESTS; sent += 50) {
        for (const status of await Promise.all(Array.from({ length: 50 }, () => get(LONG_PATH))))
          statuses.add(status)
      }
      t.same(statuses, new Set([404]), 'every request is answered')
      t.equal(await get('/health'), 200, '/health is 200')
    },
    async stopped(t: Test) {
      server.process.kill('SIGTERM')
      t.same(await Promise.race([exited, sleep(20_000, 'it goes on')]), [0, null], 'it exits with code 0')
    },
  }
}

/** A pipe: the end that is read, and the one to write to. */
function openPipe(t: Test): { reader: () => Socket; writer: number } {
  const path = join(emptyFolder(t), 'pipe')
  execFileSync('mkfifo', [path])
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  return { reader: () => new Socket({ fd, writable: false }), writer: openSync(path, 'w') }
}

t.test('a pipe that is read again after a while', async (t) => {
  const { reader, writer } = openPipe(t)
  const server = await startWith(t, writer)
  closeSync(writer)
  await server.flood(t)
  let text = ''
  const output = reader().setEncoding('utf8')
  output.on('data', (chunk) => (text += chunk))
  for (let i = 0; i < 200 && !text.includes('dropped'); i++) await sleep(50)
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const gaps = lines.filter(({ dropped }) => dropped > 0)
  t.match(gaps, [{ level: 'warn', dropped: Number, msg: /dropped/ }], 'one line counts those dropped')
  const requests = lines.filter(({ msg }) => msg === 'request').length
  t.equal(requests + gaps[0]?.dropped, server.answered(), 'every other line is there, and whole')
  await server.stopped(t)
})

t.test('a pipe that nobody reads', async (t) => {
  const { writer } = openPipe(t)
  const server = await startWith(t, writer)
  closeSync(writer)
  await server.flood(t)
  await server.stopped(t)
})

t.test('a socket that nobody reads', async (t) => {
  const server = await startWith(t)
  server.stdout?.pause()
  await server.flood(t)
  await server.stopped(t)
})

t.test('a full disk', { skip: !existsSync('/dev/full') && 'needs /dev/full' }, async (t) => {
  const stdout = openSync('/dev/full', 'w')
  const server = await startWith(t, stdout)
  closeSync(stdout)
  await server.flood(t)
  await server.stopped(t)
})
