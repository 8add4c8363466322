import { setTimeout as sleep } from 'node:timers/promises'
import type { Scenario } from '../../faults/tools.ts'
import { compared, seconds, times } from '../../faults/writing.ts'
import { figureOf, Pair, Probe } from '../pair.ts'

const ENDS = ['killed', 'stopped', 'frozen'] as const
const PROMOTIONS = 12
const LONGEST_MS = 7_000
const RECOVERY_MS = 5_000

export default {
  name: 'failover',
  what: `A primary with a synchronous standby, both in \`DATABASE_URL\`: the primary is killed, stopped or frozen, the standby promoted, and the former primary made its standby, ${PROMOTIONS} times under 32 writers`,
  goal: '0 lost, 0 doubled, nothing but 201 and 503, every answer within 7 s, writes within 5 s of the promotion',
  async run(tools) {
    const pair = await Pair.create(tools)
    const service = await tools.service({ DATABASE_URL: pair.url })
    const probe = await Probe.create(tools, service.url)
    const recovered: number[] = []
    const disturb = async () => {
      await times(PROMOTIONS, async (i) => {
        await sleep(1_000 + Math.random() * 500)
        const former = pair.primary
        const end = ENDS[i % ENDS.length]
        if (end === 'killed') await former.kill()
        else if (end === 'stopped') await former.stop()
        else former.freeze()
        await pair.promote()
        recovered.push(await probe.firstWrite())
        await sleep(500)
        if (end === 'frozen') former.thaw()
        await pair.rebuild()
      })
      await sleep(1_000)
      await probe.clear(pair)
      return `${PROMOTIONS} promotions`
    }
    const { figure, ok, writers } = await compared(tools, disturb, {
      to: service.url,
      name: pair.name,
      server: pair,
    })
    return {
      figure: `${figure}; nothing acknowledged for at most ${seconds(writers.longestGap)}; from the promotion to the first write: ${figureOf(recovered)}`,
      ok: ok && writers.longest < LONGEST_MS && Math.max(...recovered) < RECOVERY_MS,
    }
  },
} satisfies Scenario
