import { setTimeout as sleep } from 'node:timers/promises'
import { call, watch } from '../clients.ts'
import { until } from '../processes.ts'
import type { Scenario } from '../tools.ts'
import { seconds } from '../writing.ts'

const SECONDS = 10

export default {
  name: 'database-silent',
  what: `PostgreSQL stopped (SIGSTOP) for ${SECONDS + 3} s and more, 10 users who list 20 tasks, 20 requests a second`,
  goal: `once it is known, after 3 s at most, each is 503 in < 1 s; 200 again within 2 s`,
  async run(tools) {
    const { url, server } = await tools.database()
    const service = await tools.service({ DATABASE_URL: url })
    const calls = (await tools.users(url, 10, 20)).map(({ token }) => ({ path: '/todos?limit=20', token }))
    await watch(service.url, calls, { seconds: 3, perSecond: 20 })
    server.freeze()
    tools.teardown(() => server.thaw())
    const first = watch(service.url, calls, { seconds: 3, perSecond: 20 })
    await sleep(3000)
    const known = await watch(service.url, calls, { seconds: SECONDS, perSecond: 20 })
    const { kinds, max } = await first
    server.thaw()
    const start = performance.now()
    await until(
      'it goes on',
      async () => (await call(service.url, calls[0] ?? { path: '/todos' })).status === 200,
    )
    const back = performance.now() - start
    const after = await watch(service.url, calls, { seconds: 3, perSecond: 20 })
    return {
      figure:
        `in the first 3 s ${kinds}, after at most ${seconds(max)}; then ${known.kinds}, p99 ${known.p99}, at most ${known.max} ms; ` +
        `200 again after ${seconds(back)}, then ${after.kinds}`,
      ok:
        known.kinds === `503 × ${known.count}` &&
        known.max < 1000 &&
        max < 6000 &&
        back < 2000 &&
        after.failed === 0,
    }
  },
} satisfies Scenario
