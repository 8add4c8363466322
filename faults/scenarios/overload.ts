import { fork } from 'node:child_process'
import { once } from 'node:events'
import { type Call, type Times, watch } from '../clients.ts'
import { flood } from '../flood.ts'
import type { Service } from '../service.ts'
import type { Scenario, Tools } from '../tools.ts'

const TIMES = 10
const SECONDS = 10
const USERS = 500
const DISTANCE_MS = 200

export default {
  name: 'overload',
  what:
    `${TIMES} times the rate that it can carry, for ${SECONDS} s: lists of 1,000 tasks, which need the processor; ` +
    `creates on a database ${DISTANCE_MS} ms away, with 4 connections. Somebody else lists 20 tasks all the time`,
  goal: 'each request answered, with 2xx, 429 or 503; memory < 2 ×; p99 of others < 2 × within 5 s of the end',
  async run(tools) {
    const { url } = await tools.database()
    const crowd = (await tools.users(url, USERS, 1000, 'crowd')).map(({ token }) => token)
    const others = (await tools.users(url, 10, 20)).map(({ token }) => ({ path: '/todos?limit=20', token }))
    const near = await tools.service({ DATABASE_URL: url })
    const lists = crowd.map((token) => ({ path: '/todos?limit=1000', token }))
    const { rate, ...listed } = await overload(near, lists, others, async () => {
      const { count } = await flood({
        url: near.url,
        calls: lists,
        clients: 32,
        seconds: 5,
      })
      return count / 5
    })
    await near.kill()

    const far = await tools.service({ DATABASE_URL: await distant(tools, url), DATABASE_POOL_MAX: '4' })
    const creates = crowd.map((token) => ({ path: '/todos', method: 'POST', token, body: { title: 'x' } }))
    const written = await overload(far, creates, others, async () => capacityOf(far, creates))
    return {
      figure: `lists: ${rate.toFixed(0)}/s carried; ${listed.figure}. Creates: ${written.rate.toFixed(0)}/s carried; ${written.figure}`,
      ok: listed.ok && written.ok,
    }
  },
} satisfies Scenario

/** Raises the rate until a tenth of the requests takes longer than a second. Returns the last one that was carried. */
async function capacityOf(service: Service, calls: readonly Call[]): Promise<number> {
  let carried = 40
  for (let rate = 56; rate < 2000; rate *= 1.4) {
    const perSecond = Math.round(rate)
    const { p99, failed } = await watch(service.url, calls, { seconds: 2, perSecond })
    if (failed > 0 || p99 > 500) return carried
    carried = perSecond
  }
  return carried
}

async function overload(
  service: Service,
  calls: readonly Call[],
  others: readonly Call[],
  capacity: () => Promise<number>,
): Promise<{ rate: number; figure: string; ok: boolean }> {
  await watch(service.url, [...others, ...calls.slice(0, 50)], { seconds: 3 })
  const rate = await capacity()
  const before = await watch(service.url, others, { seconds: 5, perSecond: 20 })
  const rss = service.rss()
  const [theirs, during] = await Promise.all([
    watch(service.url, calls, { seconds: SECONDS, perSecond: rate * TIMES }),
    watch(service.url, others, { seconds: SECONDS, perSecond: 20 }),
  ])
  const most = service.rss()
  await watch(service.url, others, { seconds: 5, perSecond: 20 })
  const after = await watch(service.url, others, { seconds: 5, perSecond: 20 })
  const isAnswered = ({ kinds }: Times) => /^((200|201|429|503) × [\d,]+(, )?)+$/.test(kinds)
  return {
    rate,
    figure:
      `at ${(rate * TIMES).toFixed(0)}/s: ${theirs.kinds}, p50 ${theirs.p50} ms, at most ${theirs.max} ms; ` +
      `others p99 ${before.p99} → ${during.p99} → ${after.p99} ms afterwards, ${during.kinds}; memory ${rss.toFixed(0)} → ${most.toFixed(0)} MB`,
    ok: isAnswered(theirs) && isAnswered(during) && most < 2 * rss && after.p99 < 2 * Math.max(before.p99, 5),
  }
}

/** The address of a database that is far away. */
async function distant(tools: Tools, address: string): Promise<string> {
  const url = new URL(address)
  const proxy = fork('bench/delay.ts', [url.hostname, url.port, String(DISTANCE_MS)])
  tools.teardown(() => proxy.disconnect())
  const [port] = await once(proxy, 'message')
  url.port = String(port)
  return url.href
}
