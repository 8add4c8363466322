import { watch } from '../clients.ts'
import { flood } from '../flood.ts'
import type { Scenario } from '../tools.ts'
import { seconds } from '../writing.ts'

const SECONDS = 12
const ANSWERED_MS = 6_000

export default {
  name: 'locked-rows',
  what: 'Writes on rows that another session has locked: 10 users × 4 and 100 users × 1, again and again; others write and read',
  goal: 'others: p99 < 2 × with 100 × 1, none failed; blocked ones answered within 6 s; /ready < 1 s',
  async run(tools) {
    const { url, server, name } = await tools.database()
    const service = await tools.service({ DATABASE_URL: url })
    const owners = await tools.users(url, 100, 1, 'owner')
    const others = await tools.users(url, 10, 20)
    const writes = others.map(({ token }) => ({
      path: '/todos',
      method: 'POST',
      token,
      body: { title: 'x' },
    }))
    const readers = await tools.users(url, 10, 20, 'reader')
    const reads = readers.map(({ token }) => ({ path: '/todos?limit=20', token }))
    await watch(service.url, [...writes, ...reads], { seconds: 3 })
    const watchOthers = async (seconds: number) => {
      const rate = { seconds, perSecond: 40 }
      return Promise.all([watch(service.url, writes, rate), watch(service.url, reads, rate)])
    }
    const before = await watchOthers(SECONDS)
    const locker = await server.connect(name)
    tools.teardown(() => locker.end())
    await locker.query('begin')
    await locker.query("select from tasks where user_id like 'owner-%' for update")

    const figures: string[] = []
    let ok = true
    for (const [users, each] of [
      [10, 4],
      [100, 1],
    ] as const) {
      const calls = owners.slice(0, users).map(({ token, ids }) => {
        return { method: 'PATCH', path: `/todos/${ids[0]}/toggle`, token }
      })
      const load = flood({ url: service.url, calls, clients: users * each, seconds: SECONDS, patient: false })
      const [others, ready] = await Promise.all([
        watchOthers(SECONDS),
        watch(service.url, [{ path: '/ready' }], { seconds: SECONDS, perSecond: 2 }),
      ])
      const { longest } = await load
      const theirs = others.map(({ p50, p99, failed, count }, i) => {
        const { p50: p50Before = 0, p99: p99Before = 0 } = before[i] ?? {}
        ok &&= failed === 0 && (users < 100 || p99 < 2 * Math.max(p99Before, 1))
        return `${i === 0 ? 'writes' : 'reads'} p50 ${p50Before} → ${p50}, p99 ${p99Before} → ${p99} ms, ${failed} of ${count} failed`
      })
      figures.push(
        `${users} × ${each}: others' ${theirs.join(', ')}; blocked ones after at most ${seconds(longest)}; /ready at most ${ready.max} ms`,
      )
      ok &&= longest < ANSWERED_MS && ready.max < 1000
    }
    return { figure: figures.join('. '), ok }
  },
} satisfies Scenario
