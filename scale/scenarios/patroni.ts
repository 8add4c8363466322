import { setTimeout as sleep } from 'node:timers/promises'
import type { Scenario } from '../../faults/tools.ts'
import { compared, seconds, times } from '../../faults/writing.ts'
import { figureOf, Probe } from '../pair.ts'
import { Patroni } from '../patroni.ts'

const SWITCHOVERS = 10
const FAILOVERS = 2
const LONGEST_MS = 7_000

export default {
  name: 'patroni',
  what: `Patroni with etcd and synchronous_mode: ${SWITCHOVERS} switchovers, and ${FAILOVERS} times the leader killed with its Patroni, under 32 writers`,
  goal: '0 lost, 0 doubled, nothing but 201 and 503, every answer within 7 s',
  async run(tools) {
    const patroni = await Patroni.create(tools)
    const service = await tools.service({ DATABASE_URL: patroni.url })
    const probe = await Probe.create(tools, service.url)
    const switched: number[] = []
    const failed: number[] = []
    const disturb = async () => {
      await times(SWITCHOVERS + FAILOVERS, async (i) => {
        await sleep(1_000)
        if (i < SWITCHOVERS) {
          await patroni.switchOver()
          switched.push(await probe.firstWrite())
        } else {
          await patroni.failOver()
          failed.push(await probe.firstWrite())
        }
        await patroni.synchronized()
      })
      await sleep(1_000)
      await probe.clear(patroni)
      return `${SWITCHOVERS + FAILOVERS} changes`
    }
    const { figure, ok, writers } = await compared(tools, disturb, {
      to: service.url,
      name: patroni.name,
      server: patroni,
    })
    return {
      figure: `${figure}; nothing acknowledged for at most ${seconds(writers.longestGap)}; from Patroni's answer to the first write: ${figureOf(switched)}; from the new leader to the first write: ${figureOf(failed)}`,
      ok: ok && writers.longest < LONGEST_MS,
    }
  },
} satisfies Scenario
