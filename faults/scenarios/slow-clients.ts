import { setTimeout as sleep } from 'node:timers/promises'
import { thousands, watch } from '../clients.ts'
import { Drip } from '../drip.ts'
import type { Scenario } from '../tools.ts'
import { seconds } from '../writing.ts'

const HEADERS = 1000
const BODIES = 500
const SECONDS = 20

export default {
  name: 'slow-clients',
  what: `${thousands(HEADERS)} clients that send a header line each 0.5 s, ${BODIES} that send a byte of a body`,
  goal: 'headers cut in ≤ 12 s, bodies in ≤ 17 s, their sockets gone 1 s after, though they keep their half open; p99 of others < 2 ×, none failed',
  async run(tools) {
    const { url } = await tools.database()
    const service = await tools.service({ DATABASE_URL: url })
    const others = (await tools.users(url, 10, 20)).map(({ token }) => ({ path: '/todos?limit=20', token }))
    await watch(service.url, others, { seconds: 3 })
    const before = await watch(service.url, others, { seconds: 6 })
    const rss = service.rss()
    const descriptors = service.descriptors()
    const port = Number(new URL(service.url).port)
    const token = await tools.token('slow')
    const open = (clients: number, begin: string, drip: string) => {
      const slow = new Drip({ port, clients, begin, drip })
      tools.teardown(() => slow.close())
      return slow
    }
    const headers = open(HEADERS, 'GET /todos HTTP/1.1\r\nHost: a\r\n', 'X: a\r\n')
    const body = `POST /todos HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{`
    const bodies = open(BODIES, body, ' ')
    await sleep(1000) // to open 1,500 sockets keeps the machine busy
    const during = await watch(service.url, others, { seconds: SECONDS - 1 })
    const left = service.descriptors() - descriptors
    const ratio = during.p99 / Math.max(before.p99, 1)
    return {
      figure:
        `${headers.cut} of ${HEADERS} headers cut, the last after ${seconds(headers.longest)}; ` +
        `${bodies.cut} of ${BODIES} bodies, after ${seconds(bodies.longest)}; ${Math.max(left, 0)} more descriptors than before; others p99 ${before.p99} → ${during.p99} ms, ` +
        `${during.failed} of ${during.count} failed; memory ${rss.toFixed(0)} → ${service.rss().toFixed(0)} MB`,
      ok:
        headers.cut === HEADERS &&
        bodies.cut === BODIES &&
        headers.longest < 12_500 &&
        bodies.longest < 17_500 &&
        left < 10 && // those of others, and of the database, come and go
        ratio < 2 &&
        during.failed === 0,
    }
  },
} satisfies Scenario
