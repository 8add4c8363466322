import { setTimeout as sleep } from 'node:timers/promises'
import { load, scenarios } from '../../bench/load.ts'
import { thousands } from '../clients.ts'
import type { Scenario } from '../tools.ts'

const REQUESTS = 1_000_000
const WARM = 50_000
const SECONDS = 5
// By then the pool has closed the connections that are idle.
const IDLE_MS = 15_000

export default {
  name: 'soak',
  what: `${thousands(REQUESTS)} requests, mixed as in the benchmark, of 200 users`,
  goal: `none failed; memory + < 5 % from ${thousands(WARM)} requests on; descriptors and connections as before`,
  async run(tools) {
    const { url, name, server } = await tools.database()
    const service = await tools.service({ DATABASE_URL: url })
    const users = (await tools.users(url, 200, 20)).map(({ token, ids }) => ({ token, tasks: ids }))
    const open = async () => {
      const [row] = await server.query<{ count: string }>(
        'select count(*) from pg_stat_activity where datname = $1',
        'postgres',
        [name],
      )
      return { files: service.descriptors(), connections: Number(row?.count) }
    }
    const before = await open()
    let done = 0
    let warm = 0
    const figures: string[] = []
    while (done < REQUESTS) {
      const { rate } = await load(service.url, scenarios.mix, users, { seconds: SECONDS })
      done += rate * SECONDS
      if (warm === 0 && done >= WARM) warm = service.rss()
      if (warm > 0 && done >= (figures.length * REQUESTS) / 5) figures.push(service.rss().toFixed(0))
    }
    const rss = service.rss()
    await sleep(IDLE_MS)
    const after = await open()
    const growth = (rss / warm - 1) * 100
    return {
      figure:
        `${thousands(Math.round(done))} answered, 0 failed; memory ${figures.join(' → ')} → ${rss.toFixed(0)} MB (${growth.toFixed(1)} %); ` +
        `descriptors ${before.files} → ${after.files}, connections ${before.connections} → ${after.connections}`,
      ok: growth < 5 && after.files <= before.files && after.connections <= before.connections,
    }
  },
} satisfies Scenario
