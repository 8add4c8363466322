import { setTimeout as sleep } from 'node:timers/promises'
import { thousands } from '../clients.ts'
import { type Ended, freePort } from '../processes.ts'
import type { Scenario, Tools } from '../tools.ts'
import { seconds, underWriters, type WritingOptions } from '../writing.ts'

const REQUESTS = 50_000
const NEW_REQUESTS = 5_000

export default {
  name: 'shutdown-under-load',
  what:
    `SIGTERM again and again under 32 writers that pause for up to 20 ms, until they have sent ${thousands(REQUESTS)} requests ` +
    `on kept connections, and ${thousands(NEW_REQUESTS)} each on a new one`,
  goal: '0 lost; none dropped on kept connections, and for new ones it is said how many; exit code 0 in < 6 s',
  async run(tools) {
    const kept = await underSignals(tools, REQUESTS, {})
    const fresh = await underSignals(tools, NEW_REQUESTS, { fresh: true })
    return {
      figure: `kept: ${kept.figure}. New: ${fresh.figure}`,
      ok: kept.ok && fresh.ok && kept.dropped === 0,
    }
  },
} satisfies Scenario

async function underSignals(tools: Tools, requests: number, options: WritingOptions) {
  const port = await freePort()
  const ends: (Ended & { ms: number })[] = []
  const { figure, ok, writers } = await underWriters(
    tools,
    async ({ service, url, writers }) => {
      let running = service
      while (writers.sent < requests) {
        await sleep(1000)
        ends.push(await running.terminate())
        running = await tools.service({ DATABASE_URL: url }, { port })
      }
      return `${ends.length} signals`
    },
    { ...options, port, allowed: [201, 503, 0], pause: 20 },
  )
  const slowest = Math.max(...ends.map(({ ms }) => ms))
  const dropped = writers.dropped.kept + writers.dropped.fresh
  return {
    dropped,
    figure:
      `${dropped} of ${thousands(writers.sent)} dropped; exit codes ${ends.map(({ code }) => code).join(', ')}; ` +
      `at most ${seconds(slowest)}; ${figure}`,
    ok: ok && ends.every(({ code }) => code === 0) && slowest < 6_000,
  }
}
