import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { call } from '../clients.ts'
import { find, freePort, Running, until } from '../processes.ts'
import type { Service } from '../service.ts'
import type { Scenario } from '../tools.ts'
import { compared } from '../writing.ts'

const ROLLS = 2

export default {
  name: 'rolling-deploy',
  what: `haproxy in front, asking /ready each 0.2 s: two instances replaced one after the other, ${ROLLS} times, 32 writers`,
  goal: '0 lost, 0 doubled, nothing but 201',
  async run(tools) {
    const haproxy = find('haproxy')
    const { url, name, server } = await tools.database()
    const ports = [await freePort(), await freePort()]
    const instances: Service[] = []
    for (const port of ports) instances.push(await tools.service({ DATABASE_URL: url }, { port }))
    const front = await freePort()
    const config = join(tools.folder(), 'haproxy.cfg')
    writeFileSync(
      config,
      `defaults
  mode http
  timeout connect 1s
  timeout check 5s
  timeout client 30s
  timeout server 30s
frontend web
  bind 127.0.0.1:${front}
  default_backend instances
backend instances
  option httpchk GET /ready
  default-server check inter 200ms fall 1 rise 1
${ports.map((port, i) => `  server instance${i} 127.0.0.1:${port}`).join('\n')}
`,
    )
    const proxy = new Running(haproxy, ['-f', config, '-db'])
    tools.teardown(() => proxy.kill())
    const through = `http://127.0.0.1:${front}`
    await until('haproxy answers', async () => (await call(through, { path: '/ready' })).status === 200)
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
