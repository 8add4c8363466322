import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { watch } from '../clients.ts'
import type { Scenario } from '../tools.ts'

const SECONDS = 180
const EVERY_SECONDS = 5
const CONNECTIONS = 4
const PIPELINED = 50
// Twice a minute and DATABASE_TIMEOUT, and what the samples are apart.
const CUT_SECONDS = 2 * 65 + EVERY_SECONDS

export default {
  name: 'unread-answers',
  what: `One token, ${CONNECTIONS} new connections each ${EVERY_SECONDS} s, each with ${PIPELINED} pipelined lists of 1,000 tasks that are never read; no limit on requests`,
  goal: `memory < 1.2 × after ${SECONDS / 60} minutes; a socket on which an answer waits is cut, within ${CUT_SECONDS} s; none of the requests of others failed`,
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
    const dial = () => {
      const socket = connect(port, '127.0.0.1').pause()
      socket.on('error', () => {})
      socket.write(request.repeat(PIPELINED))
      tools.teardown(() => socket.destroy())
    }
    const watched = watch(service.url, others, { seconds: total, perSecond: 20 })
    const figures: number[] = []
    const held = new Map<string, { queue: string; since: number }>()
    let longest = 0
    let cut = 0
    for (let second = 0; second < total; second += EVERY_SECONDS) {
      for (let i = 0; i < CONNECTIONS; i++) dial()
      await sleep(EVERY_SECONDS * 1000)
      figures.push(Math.round(service.rss()))
      const now = unreadOf(port)
      for (const [address, { since }] of held) {
        if (!now.has(address)) cut += Number(held.delete(address))
        else longest = Math.max(longest, second - since)
      }
      for (const [address, queue] of now)
        if (held.get(address)?.queue !== queue) held.set(address, { queue, since: second })
    }
    const { p99, failed, count } = await watched
    const most = Math.max(...figures)
    return {
      figure:
        `${before.toFixed(0)} → ${figures.filter((_, i) => i % Math.ceil(figures.length / 6) === 0 || i === figures.length - 1).join(' → ')} MB in ${total} s; ` +
        `${cut} sockets cut on which answers waited, ${held.size} left, none for more than ${longest} s; ` +
        `others p99 ${p99} ms, ${failed} of ${count} failed`,
      ok: most < 1.2 * before && cut > 0 && longest <= CUT_SECONDS && failed === 0,
    }
  },
} satisfies Scenario

/** The sockets of a server that hold what their clients do not take: how much, by the clients' addresses. */
function unreadOf(port: number): Map<string, string> {
  const ours = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const fields = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
  return new Map(
    fields
      // The kernel sends on for a while what was cut: it belongs to no process.
      .filter(
        ([, local, , , queues = '', , , , , inode]) =>
          local === ours && !queues.startsWith('00000000') && inode !== '0',
      )
      .map(([, , remote = '', , queues = '']) => [remote, queues]),
  )
}
