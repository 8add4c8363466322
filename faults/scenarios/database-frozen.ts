import { setTimeout as sleep } from 'node:timers/promises'
import type { Scenario } from '../tools.ts'
import { times, underWriters } from '../writing.ts'

const FREEZES = [1, 2, 4, 7]
const LONGEST_MS = 6_000

export default {
  name: 'database-frozen',
  what: `PostgreSQL stopped (SIGSTOP) for ${FREEZES.join(', ')} s, 32 writers`,
  goal: '0 lost, 0 doubled, nothing but 201 and 503, every answer within 6 s',
  async run(tools) {
    const { figure, ok, writers } = await underWriters(tools, async ({ server }) => {
      await times(FREEZES.length, async (i) => {
        server.freeze()
        await sleep((FREEZES[i] ?? 0) * 1000).finally(() => server.thaw())
        await sleep(1000)
      })
      return `${FREEZES.length} stops`
    })
    return { figure, ok: ok && writers.longest < LONGEST_MS }
  },
} satisfies Scenario
