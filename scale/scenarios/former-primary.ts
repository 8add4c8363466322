import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../faults/processes.ts'
import type { Scenario } from '../../faults/tools.ts'
import { compared, seconds, times } from '../../faults/writing.ts'
import { figureOf, Pair, Probe } from '../pair.ts'

const ROUNDS = 10

export default {
  name: 'former-primary',
  what: `The same, but the former primary stays up and keeps its sessions: it turns read-only (default_transaction_read_only), the standby is promoted, ${ROUNDS} times under 32 writers`,
  goal: '0 lost, 0 doubled, nothing but 201 and 503, no session left on the former primary after a second',
  async run(tools) {
    const pair = await Pair.create(tools)
    const service = await tools.service({ DATABASE_URL: pair.url })
    const probe = await Probe.create(tools, service.url)
    const recovered: number[] = []
    const left: number[] = []
    const disturb = async () => {
      await times(ROUNDS, async () => {
        await sleep(1_000)
        const former = pair.primary
        await former.query('alter system set default_transaction_read_only = on')
        await former.query('select pg_reload_conf()')
        await sleep(200) // what has begun to write ends
        await pair.promote()
        const promoted = performance.now()
        recovered.push(await probe.firstWrite())
        await until('the former primary is left', async () => {
          const [row] = await former.query<{ n: number }>(
            "select count(*)::int as n from pg_stat_activity where application_name = 'taskward'",
          )
          return row?.n === 0
        })
        left.push(performance.now() - promoted)
        await pair.rebuild()
      })
      await sleep(1_000)
      await probe.clear(pair)
      return `${ROUNDS} changes`
    }
    const { figure, ok, writers } = await compared(tools, disturb, {
      to: service.url,
      name: pair.name,
      server: pair,
    })
    return {
      figure: `${figure}; nothing acknowledged for at most ${seconds(writers.longestGap)}; from the promotion to the first write: ${figureOf(recovered)}; to the last session on the former primary: ${figureOf(left)}`,
      ok: ok && Math.max(...left) < 1_000,
    }
  },
} satisfies Scenario
