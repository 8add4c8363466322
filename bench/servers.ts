import { type ChildProcess, spawn } from 'node:child_process'
import { openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import packageJson from '../package.json' with { type: 'json' }

export interface Server {
  url: string
  /** Resident memory in megabytes. */
  rss(): number
  signal(name: NodeJS.Signals): void
  stop(): Promise<void>
}

/** The same as `npm start`, but without run.js: a .env must not change what is measured. */
export const TASKWARD = packageJson.scripts.start.replace(/^exec node | run\.js(?= )/g, '').split(' ')

/**
 * Starts a server in its own process, with its log in a file, and waits until it answers.
 * @param args of node: options and the file
 */
export async function start(
  args: readonly string[],
  env: Record<string, string>,
  logFile = '/dev/null',
): Promise<Server> {
  const port = await freePort()
  const log = openSync(logFile, 'a')
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, ...env, PORT: String(port), HOST: '127.0.0.1' },
    stdio: ['ignore', log, 'inherit'],
  })
  const url = `http://127.0.0.1:${port}`
  for (let attempt = 0; !(await answers(url)); attempt++) {
    if (attempt > 300 || child.exitCode !== null) {
      child.kill()
      throw new Error(`${args.at(-1)} does not start`)
    }
    await sleep(100)
  }
  return { url, rss: () => rssOf(child), signal: (name) => void child.kill(name), stop: () => stop(child) }
}

function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    () => true,
    () => false,
  )
}

function rssOf({ pid }: ChildProcess): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) / 1024
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill()
  await ended
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
