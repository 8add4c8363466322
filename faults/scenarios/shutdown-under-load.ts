import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../processes.ts'
import type { Ended } from '../processes.ts'
import type { Scenario } from '../tools.ts'
import { times, underWriters } from '../writing.ts'

const SIGNALS = 5

export default {
  name: 'shutdown-under-load',
  what: `SIGTERM ${SIGNALS} times under 32 writers that keep their connections and pause for up to 20 ms`,
  goal: '0 lost; none dropped on kept connections; exit code 0 in < 6 s',
  async run(tools) {
    const port = await freePort()
    const ends: (Ended & { ms: number })[] = []
    const disturb: Parameters<typeof underWriters>[1] = async ({ service, url }) => {
      let running = service
      await times(SIGNALS, async (i) => {
        await sleep(1000)
        ends.push(await running.terminate())
        if (i < SIGNALS - 1) running = await tools.service({ DATABASE_URL: url }, { port })
      })
      return `${SIGNALS} signals`
    }
    const { figure, ok, writers } = await underWriters(tools, disturb, {
      port,
      allowed: [201, 503, 0],
      pause: 20,
    })
    const slowest = Math.max(...ends.map(({ ms }) => ms))
    const clean = ends.every(({ code }) => code === 0)
    return {
      figure:
        `${writers.dropped.kept} of ${writers.sent.toLocaleString('en')} dropped on kept connections, ${writers.dropped.fresh} on new ones; ` +
        `exit codes ${ends.map(({ code }) => code).join(', ')}; at most ${(slowest / 1000).toFixed(1)} s; ${figure}`,
      ok: ok && clean && slowest < 6_000 && writers.dropped.kept === 0,
    }
  },
} satisfies Scenario
