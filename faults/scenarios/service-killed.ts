import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../processes.ts'
import type { Scenario } from '../tools.ts'
import { times, underWriters } from '../writing.ts'

const KILLS = 4

export default {
  name: 'service-killed',
  what: `The service killed (SIGKILL) ${KILLS} times under 32 writers, and started again`,
  goal: '0 lost, 0 doubled',
  async run(tools) {
    const port = await freePort()
    const disturb: Parameters<typeof underWriters>[1] = async ({ service, url }) => {
      let running = service
      await times(KILLS, async () => {
        await sleep(1000)
        await running.kill()
        running = await tools.service({ DATABASE_URL: url }, { port })
      })
      await sleep(500)
      return `${KILLS} kills`
    }
    return underWriters(tools, disturb, { port, allowed: [201, 503, 0] })
  },
} satisfies Scenario
