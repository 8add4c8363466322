import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Scenario, Tools } from '../tools.ts'
import { times, underWriters } from '../writing.ts'

const CUTS = 60

export default {
  name: 'connection-cut',
  what: `The connections to PostgreSQL cut at a random byte ${CUTS} times, 32 writers`,
  goal: '0 lost, 0 doubled, nothing but 201 and 503; what is written was not denied: its answer was 201, or 503 `outcome_unknown` without Retry-After',
  async run(tools) {
    let proxy: Awaited<ReturnType<Tools['proxy']>> | undefined
    const address = async (url: string) => (proxy = await tools.proxy(url)).url
    const disturb = async () => {
      await times(CUTS, async () => {
        proxy?.cutAfter(randomInt(1, 100_000))
        await sleep(200)
      })
      return `${CUTS} cuts`
    }
    return underWriters(tools, disturb, { address })
  },
} satisfies Scenario
