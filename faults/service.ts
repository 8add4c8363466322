import type { StdioOptions } from 'node:child_process'
import { TASKWARD } from '../bench/servers.ts'
import { call } from './clients.ts'
import { type Ended, freePort, Running, until } from './processes.ts'

/** The service in a process of its own, started as by `npm start`. */
export class Service extends Running {
  readonly url: string

  constructor(port: number, env: Record<string, string>, { stdio, cwd, args = [] }: ServiceOptions) {
    const variables = { PATH: process.env.PATH, ...env, PORT: String(port), HOST: '127.0.0.1' }
    super(process.execPath, [...args, ...TASKWARD], {
      env: variables,
      cwd,
      stdio: stdio ?? ['ignore', 'ignore', 'inherit'],
    })
    this.url = `http://127.0.0.1:${port}`
  }

  /** Sends SIGTERM and waits for at most 20 seconds. */
  async terminate(): Promise<Ended & { ms: number }> {
    const start = performance.now()
    this.child.kill('SIGTERM')
    const timer = setTimeout(() => void this.kill(), 20_000)
    const ended = await this.ended
    clearTimeout(timer)
    return { ...ended, ms: performance.now() - start }
  }
}

export interface ServiceOptions {
  port?: number
  stdio?: StdioOptions
  /** Where another release of it is. Default: this one. */
  cwd?: string
  /** More options of node. */
  args?: string[]
}

/** Starts the service and waits until it listens. */
export async function startService(env: Record<string, string>, options: ServiceOptions): Promise<Service> {
  const service = new Service(options.port ?? (await freePort()), env, options)
  await until(
    'the service listens',
    async () => {
      return !service.isRunning || (await call(service.url, { path: '/health' })).status === 200
    },
    30,
  ).catch(async (error) => {
    await service.kill()
    throw error
  })
  if (!service.isRunning) throw new Error('the service does not start')
  return service
}

/**
 * Options of node with which signals move the clock of the service, and its timers of more than ten seconds: past the
 * time after which keys are fetched again, and on in steps between which a fetch that hangs is given up. Those of the
 * pool, which would close all idle connections, have ten.
 */
export const CLOCK = [
  '--import',
  `data:text/javascript,${encodeURIComponent(
    `const now = Date.now
    let seconds = 0
    Date.now = () => now() + seconds * 1000
    const { setTimeout, clearTimeout } = globalThis
    const timers = new Set()
    globalThis.setTimeout = Object.assign((call, ms, ...rest) => {
      if (ms <= 10_000) return setTimeout(call, ms, ...rest)
      const timer = setTimeout(call, ms, ...rest)
      timers.add(Object.assign(timer, { at: Date.now() + ms, run: () => call(...rest) }))
      return timer
    }, setTimeout)
    globalThis.clearTimeout = (timer) => clearTimeout(timer, timers.delete(timer))
    const move = (by) => {
      seconds += by
      for (const timer of timers) {
        if (timer.at > Date.now()) continue
        clearTimeout(timer)
        timers.delete(timer)
        timer.run()
      }
    }
    process.on('SIGWINCH', () => move(500))
    process.on('SIGURG', () => move(40))`,
  )}`,
]
