import { randomInt } from 'node:crypto'
import { thousands } from '../clients.ts'
import { until } from '../processes.ts'
import type { Scenario, Tools } from '../tools.ts'
import { times, underWriters } from '../writing.ts'

const CUTS = 1000

export default {
  name: 'retried-cuts',
  what: `The connections to PostgreSQL cut at a random byte ${thousands(CUTS)} times; 32 writers repeat each request, with its Idempotency-Key, until it is 201`,
  goal: '0 missing, 0 doubled, nothing but 201 and 503, without `outcome_unknown`',
  async run(tools) {
    let proxy: Awaited<ReturnType<Tools['proxy']>> | undefined
    const address = async (url: string) => (proxy = await tools.proxy(url)).url
    const disturb = async () => {
      await times(CUTS, async (i) => {
        proxy?.cutAfter(randomInt(1, 100_000))
        await until('the connections are cut', async () => proxy?.cuts() === i + 1)
      })
      return `${thousands(CUTS)} cuts`
    }
    const { figure, ok, writers } = await underWriters(tools, disturb, { address, retried: true })
    return {
      figure: `${figure}; ${thousands(writers.replayed)} retries of what was done already`,
      ok: ok && writers.unknown === 0 && writers.replayed > 0,
    }
  },
} satisfies Scenario
