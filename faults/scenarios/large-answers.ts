import { watch } from '../clients.ts'
import { flood } from '../flood.ts'
import type { Scenario } from '../tools.ts'

const SECONDS = 8

export default {
  name: 'large-answers',
  what: '500 clients that list 1,000 tasks again and again, of one user and of 100; 100 that export 5,000, of 100 users',
  goal: 'p99 of others < 3 ×, none of theirs failed',
  async run(tools) {
    const { url } = await tools.database()
    const service = await tools.service({ DATABASE_URL: url })
    const crowd = (await tools.users(url, 100, 5000, 'crowd')).map(({ token }) => token)
    const others = (await tools.users(url, 10, 20)).map(({ token }) => ({ path: '/todos?limit=20', token }))
    await watch(service.url, [...others, { path: '/todos?limit=1000', token: crowd[0] }], {
      seconds: 4,
    })
    const before = await watch(service.url, others, { seconds: 6 })
    const figures: string[] = []
    let ok = true
    async function during(name: string, clients: number, path: string, tokens: string[]): Promise<void> {
      const calls = tokens.map((token) => ({ path, token }))
      const flooding = flood({ url: service.url, calls, clients, seconds: SECONDS })
      const { p99, failed } = await watch(service.url, others, { seconds: SECONDS })
      const { p50, kinds } = await flooding
      figures.push(
        `${name}: p99 ${before.p99} → ${p99} ms, ${failed} failed (theirs: ${kinds}; p50 ${p50} ms)`,
      )
      ok &&= failed === 0 && p99 < 3 * Math.max(before.p99, 1)
    }
    await during('lists of one', 500, '/todos?limit=1000', crowd.slice(0, 1))
    await during('lists of 100', 500, '/todos?limit=1000', crowd)
    await during('exports', 100, '/me/export', crowd)
    return { figure: figures.join('; '), ok }
  },
} satisfies Scenario
