import { closeSync, openSync } from 'node:fs'
import { call, keepAlive } from '../clients.ts'
import type { Service } from '../service.ts'
import type { Scenario } from '../tools.ts'
import { seconds } from '../writing.ts'

const SECONDS = 10
const CLIENTS = 32

export default {
  name: 'log',
  what: `The log is a pipe that nobody reads, or a full disk: ${CLIENTS} clients for ${SECONDS} s, then SIGTERM`,
  goal: 'none failed; memory + < 30 MB in the second half; exit code 0 in < 6 s',
  async run(tools) {
    const { url } = await tools.database()
    const token = await tools.token('writer')
    const full = openSync('/dev/full', 'w')
    tools.teardown(() => closeSync(full))
    const lines: string[] = []
    let ok = true
    for (const [name, stdout] of [
      ['unread pipe', 'pipe'],
      ['full disk', full],
    ] as const) {
      let service: Service
      try {
        service = await tools.service({ DATABASE_URL: url }, { stdio: ['ignore', stdout, 'inherit'] })
      } catch (error) {
        lines.push(`${name}: ${(error as Error).message}`)
        ok = false
        continue
      }
      const agent = keepAlive()
      const half = async () => {
        const end = performance.now() + SECONDS * 500
        let [answered, failed] = [0, 0]
        await Promise.all(
          Array.from({ length: CLIENTS }, async () => {
            while (performance.now() < end && failed < 100) {
              const { status } = await call(service.url, { path: '/me', token, agent })
              if (status === 200) answered += 1
              else failed += 1
            }
          }),
        )
        return { answered, failed, rss: service.isRunning ? service.rss() : 0 }
      }
      const [first, second] = [await half(), await half()]
      agent.destroy()
      const { code, signal, ms } = await service.terminate()
      const failed = first.failed + second.failed
      lines.push(
        `${name}: ${(first.answered + second.answered).toLocaleString('en')} answered, ${failed} failed, memory ` +
          `${first.rss.toFixed(0)} → ${second.rss.toFixed(0)} MB, SIGTERM: ${code ?? signal} after ${seconds(ms)}`,
      )
      ok &&= failed === 0 && second.rss - first.rss < 30 && code === 0 && ms < 6_000
    }
    return { figure: lines.join('; '), ok }
  },
} satisfies Scenario
