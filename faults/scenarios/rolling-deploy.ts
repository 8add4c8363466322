import { setTimeout as sleep } from 'node:timers/promises'
import { openHaproxy } from '../haproxy.ts'
import { freePort } from '../processes.ts'
import type { Service } from '../service.ts'
import type { Scenario } from '../tools.ts'
import { compared } from '../writing.ts'

const ROLLS = 2

export default {
  name: 'rolling-deploy',
  what: `haproxy in front, asking /ready each 0.2 s: two instances replaced one after the other, ${ROLLS} times, 32 writers`,
  goal: '0 lost, 0 doubled, nothing but 201',
  async run(tools) {
    const { url, name, server } = await tools.database()
    const ports = [await freePort(), await freePort()]
    const instances: Service[] = []
    for (const port of ports) instances.push(await tools.service({ DATABASE_URL: url }, { port }))
    const through = await openHaproxy(tools, ports)
    const disturb = async () => {
      for (let roll = 0; roll < ROLLS; roll++) {
        for (const [i, port] of ports.entries()) {
          await sleep(2000) // what a platform gives the one before, until its health check has passed
          await instances[i]?.terminate()
          instances[i] = await tools.service({ DATABASE_URL: url }, { port })
        }
      }
      await sleep(500)
      return `${ROLLS * ports.length} instances replaced`
    }
    return compared(tools, disturb, { to: through, name, server, allowed: [201] })
  },
} satisfies Scenario
