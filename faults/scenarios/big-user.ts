import { setTimeout as sleep } from 'node:timers/promises'
import { call, keepAlive, thousands, watch } from '../clients.ts'
import type { Scenario } from '../tools.ts'
import { seconds } from '../writing.ts'

const TASKS = 1_000_000
const SECONDS = 8

export default {
  name: 'big-user',
  what: `One user with ${thousands(TASKS)} tasks: 20 of their stats at once, again and again; 100 at once; an export`,
  goal: 'p99 of others < 2 × with 20 stats; /ready < 1 s; memory during the export < 1.3 ×, and all of it comes',
  async run(tools) {
    const { url, server, name } = await tools.database()
    const service = await tools.service({ DATABASE_URL: url })
    const [big] = await tools.users(url, 1, TASKS, 'big')
    const others = (await tools.users(url, 10, 20)).map(({ token }) => ({ path: '/todos?limit=20', token }))
    await server.query('vacuum analyze tasks', name)
    await watch(service.url, [...others, { path: '/todos?limit=1000', token: big?.token }], { seconds: 4 })
    const before = await watch(service.url, others, { seconds: 6 })

    const agent = keepAlive()
    const stats = { path: '/todos/stats', token: big?.token, agent }
    const end = performance.now() + SECONDS * 1000
    const load = Promise.all(
      Array.from({ length: 20 }, async () => {
        while (performance.now() < end) await call(service.url, stats)
      }),
    )
    const [during, ready] = await Promise.all([
      watch(service.url, others, { seconds: SECONDS }),
      watch(service.url, [{ path: '/ready' }], { seconds: SECONDS, perSecond: 2 }),
    ])
    await load
    const burst = Array.from({ length: 100 }, () => call(service.url, stats))
    const readyInBurst = await watch(service.url, [{ path: '/ready' }], { seconds: 3, perSecond: 4 })
    await Promise.all(burst)

    const rss = service.rss()
    let most = 0
    const sampling = setInterval(() => (most = Math.max(most, service.rss())), 100)
    const start = performance.now()
    const bytes = await size(`${service.url}/me/export`, big?.token ?? '')
    clearInterval(sampling)
    agent.destroy()
    await sleep(0)
    const whole = bytes > TASKS * 100
    return {
      figure:
        `20 stats: others p99 ${before.p99} → ${during.p99} ms, ${during.failed} failed, /ready at most ${ready.max} ms; ` +
        `100 at once: /ready at most ${readyInBurst.max} ms; export of ${Math.round(bytes / 1e6)} MB in ` +
        `${seconds(performance.now() - start)}: memory ${rss.toFixed(0)} → at most ${most.toFixed(0)} MB`,
      ok:
        during.p99 < 2 * Math.max(before.p99, 1) &&
        during.failed === 0 &&
        ready.max < 1000 &&
        readyInBurst.max < 1000 &&
        most < 1.3 * rss &&
        whole,
    }
  },
} satisfies Scenario

/** Reads a whole answer, and keeps nothing of it. */
async function size(url: string, token: string): Promise<number> {
  const { body } = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
  let bytes = 0
  for await (const chunk of body ?? []) bytes += chunk.length
  return bytes
}
