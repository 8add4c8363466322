import { setTimeout as sleep } from 'node:timers/promises'
import type { Scenario } from '../tools.ts'
import { times, underWriters } from '../writing.ts'

const KILLS = 6

export default {
  name: 'database-killed',
  what: `PostgreSQL and all its backends killed ${KILLS} times under 32 writers, down for up to 1 s`,
  goal: '0 lost, 0 doubled, nothing but 201 and 503',
  run: (tools) =>
    underWriters(tools, async ({ server }) => {
      await times(KILLS, async () => {
        await sleep(1500)
        await server.kill()
        await sleep(Math.random() * 1000)
        await server.start()
      })
      await sleep(1000)
      return `${KILLS} kills`
    }),
} satisfies Scenario
