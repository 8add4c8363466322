import { setTimeout as sleep } from 'node:timers/promises'
import type { Scenario } from '../tools.ts'
import { times, underWriters } from '../writing.ts'

const ROUNDS = 60

export default {
  name: 'backends-ended',
  what: 'pg_terminate_backend on a connection of the service each 100 ms, 32 writers',
  goal: '0 lost, 0 doubled, nothing but 201 and 503',
  run: (tools) =>
    underWriters(tools, async ({ server, name }) => {
      let ended = 0
      const admin = await server.connect('postgres')
      await times(ROUNDS, async () => {
        const { rowCount } = await admin.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = $1 and application_name = 'taskward' order by random() limit 1`,
          [name],
        )
        ended += rowCount ?? 0
        await sleep(100)
      })
      await admin.end()
      return `${ended} backends`
    }),
} satisfies Scenario
