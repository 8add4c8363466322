import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { watch } from '../clients.ts'
import type { Scenario } from '../tools.ts'

const SECONDS = 30
const CONNECTIONS = 4
const PIPELINED = 50

export default {
  name: 'unread-answers',
  what: `One token, ${CONNECTIONS} new connections each 5 s, each with ${PIPELINED} pipelined lists of 1,000 tasks that are never read; no limit on requests`,
  goal: 'memory < 1.2 ×; none of the requests of others failed',
  async run(tools) {
    const { url } = await tools.database()
    const service = await tools.service({ DATABASE_URL: url })
    const [reader] = await tools.users(url, 1, 1000, 'reader')
    const others = (await tools.users(url, 10, 20)).map(({ token }) => ({ path: '/todos?limit=20', token }))
    await watch(service.url, [...others, { path: '/todos?limit=1000', token: reader?.token }], { seconds: 5 })
    const before = service.rss()
    const total = tools.seconds ?? SECONDS
    const port = Number(new URL(service.url).port)
    const request = `GET /todos?limit=1000 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${reader?.token}\r\n\r\n`
    let open = 0
    const dial = () => {
      const socket = connect(port, '127.0.0.1').pause()
      open += 1
      socket.on('error', () => {})
      socket.on('close', () => (open -= 1))
      socket.write(request.repeat(PIPELINED))
      tools.teardown(() => socket.destroy())
    }
    const watched = watch(service.url, others, { seconds: total, perSecond: 20 })
    const figures: number[] = []
    for (let second = 0; second < total; second += 5) {
      for (let i = 0; i < CONNECTIONS; i++) dial()
      await sleep(5000)
      figures.push(Math.round(service.rss()))
    }
    const { p99, failed, count } = await watched
    const most = Math.max(...figures)
    return {
      figure:
        `${before.toFixed(0)} → ${figures.filter((_, i) => i % Math.ceil(figures.length / 6) === 0 || i === figures.length - 1).join(' → ')} MB in ${total} s; ` +
        `others p99 ${p99} ms, ${failed} of ${count} failed`,
      ok: most < 1.2 * before && failed === 0,
    }
  },
} satisfies Scenario
