import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ROOT, run } from '../helper/child.ts'

const PROGRAM = join(ROOT, 'test/helper/workers.ts')
const EXITED = 'worker exited unexpectedly, restarting'

/** Two workers that listen, and what was logged since the start. */
async function startWorkers(t: Test, healthy: number) {
  const primary = run(t, [PROGRAM, String(healthy)])
  await primary.printed(/"listening"/, 2)
  const lines = () =>
    primary.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
  const workers = lines().filter(({ msg }) => msg === 'listening')
  return { primary, lines, pids: workers.map(({ pid }): number => pid), port: workers[0].port as number }
}

t.test('workers that exit again and again are not restarted for ever', async (t) => {
  const {
    primary,
    lines,
    pids: [first = 0, second = 0],
  } = await startWorkers(t, 2)
  process.kill(first, 'SIGKILL')
  const { code, stderr } = await primary.ended
  t.equal(code, 1, 'exit code 1')
  t.match(stderr, /^taskward: Worker processes exited 10 times within a minute[^\n]+\n$/, 'one sentence')
  const pauses = lines()
    .filter(({ msg }) => msg === EXITED)
    .map(({ pause }) => pause)
  t.same(pauses.slice(0, 9), [100, 100, 200, 200, 400, 400, 800, 800, 1600], 'the pauses grow')
  t.throws(() => process.kill(second, 0), 'the worker that went on has drained')
})

t.test('a service of which all workers exit comes back', async (t) => {
  const { primary, pids } = await startWorkers(t, 6)
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  await primary.printed(/"listening"/, 4)
  await sleep(500)
  t.equal(primary.stdout.match(/"listening"/g)?.length, 4, 'with as many workers as before')
  t.equal((await primary.stop()).code, 0, 'exit code 0')
})

t.test('no connection is accepted and never answered', async (t) => {
  for (const killed of [1, 2]) {
    const { primary, pids, port } = await startWorkers(t, 6)
    const victims = pids.slice(0, killed)
    // They take nothing, as in the moment before they are killed.
    for (const pid of victims) process.kill(pid, 'SIGSTOP')
    const sockets = Array.from({ length: 8 }, () => connect(port, '127.0.0.1'))
    const answers = sockets.map((socket) => text(socket).catch(() => 'refused'))
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    for (const pid of victims) process.kill(pid, 'SIGKILL')
    const outcomes = await Promise.race([Promise.all(answers), sleep(10_000, [] as string[])])
    t.equal(outcomes.length, sockets.length, `${killed} killed: each is answered or refused`)
    if (killed === 1) t.ok(outcomes.includes('hello'), 'the other worker answers its share')
    for (const socket of sockets) socket.destroy()
    await primary.stop()
  }
})
