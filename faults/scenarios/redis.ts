import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { type Answer, call, timesOf } from '../clients.ts'
import type { Scenario, Tools } from '../tools.ts'

const LIMIT = 10
const REQUESTS = 30

type Fault = (tools: Tools, url: string) => Promise<{ url: string; begin(): Promise<unknown> }>

async function admin(tools: Tools, url: string): Promise<Redis> {
  const client = new Redis(url)
  client.on('error', () => {})
  tools.teardown(() => client.disconnect())
  return client
}

const FAULTS: Record<string, Fault> = {
  down: async (tools, url) => {
    const proxy = await tools.proxy(url)
    return { url: proxy.url, begin: () => proxy.cut() }
  },
  'a read-only replica': async (tools, url) => {
    const client = await admin(tools, url)
    return { url, begin: () => client.call('replicaof', '127.0.0.1', '1') }
  },
  'memory full': async (tools, url) => {
    const client = await admin(tools, url)
    return { url, begin: () => client.config('SET', 'maxmemory', '1') }
  },
  '800 ms late': async (tools, url) => {
    const proxy = await tools.proxy(url)
    return { url: proxy.url, begin: async () => proxy.slowDown(800) }
  },
}

export default {
  name: 'redis',
  what: `Redis down, read-only, full or late, with a limit of ${LIMIT} requests: ${REQUESTS} of one user, one after the other`,
  goal: 'none fails; no more than twice the limit passes; /ready does not say that limits are shared; at most 100 ms each (p50)',
  async run(tools) {
    const { url } = await tools.database()
    const lines: string[] = []
    let ok = true
    for (const [i, [name, fault]] of Object.entries(FAULTS).entries()) {
      const redis = await tools.redis()
      const { url: address, begin } = await fault(tools, redis.url)
      const service = await tools.service({
        DATABASE_URL: url,
        REDIS_URL: address,
        RATE_LIMIT_MAX: String(LIMIT),
      })
      const token = await tools.token(`before-${i}`)
      await call(service.url, { path: '/todos', token })
      await begin()
      await sleep(2500)
      // A few before: whatever breaker there is may need failures to learn from.
      for (let i = 0; i < 8; i++) await call(service.url, { path: '/todos', token })
      const answers: Answer[] = []
      const another = await tools.token(`after-${i}`)
      for (let i = 0; i < REQUESTS; i++)
        answers.push(await call(service.url, { path: '/todos', token: another }))
      const passed = answers.filter(({ status }) => status === 200).length
      const failed = answers.filter(({ status }) => status !== 200 && status !== 429).length
      const { limits } = JSON.parse((await call(service.url, { path: '/ready' })).body)
      const { p50, max } = timesOf(answers)
      lines.push(
        `${name}: ${passed} of ${REQUESTS} pass, ${failed} failed, p50 ${p50} ms, at most ${max} ms, /ready \`${limits}\``,
      )
      ok &&= failed === 0 && passed <= 2 * LIMIT && limits !== 'shared' && p50 < 100
      await service.kill()
      await redis.process.kill()
    }
    return { figure: lines.join('; '), ok }
  },
} satisfies Scenario
