import { randomInt } from 'node:crypto'
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Something that the faults need is not installed. */
export class Missing extends Error {}

/** How a process ended. */
export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
}

/** A process of our own. */
export class Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>

  constructor(command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.child = spawn(command, args, { stdio: 'ignore', ...options })
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject)
      this.child.once('exit', (code, signal) => resolve({ code, signal }))
    })
    this.ended.catch(() => {})
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** Sends a signal to the process and to all that it has started. */
  signalAll(signal: NodeJS.Signals): void {
    if (!this.isRunning) return
    for (const pid of [this.pid, ...descendants(this.pid)]) {
      try {
        process.kill(pid, signal)
      } catch {
        // it has just ended
      }
    }
  }

  async kill(): Promise<void> {
    this.signalAll('SIGKILL')
    if (this.isRunning) await this.ended
  }

  /** How many files and sockets it has open. */
  descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length
  }

  /** Resident memory in megabytes. */
  rss(): number {
    const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8')) ?? []
    return Number(kilobytes) / 1024
  }
}

function descendants(pid: number): number[] {
  let children: number[]
  try {
    const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    children = list.split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
  return children.flatMap((child) => [child, ...descendants(child)])
}

/** The path of a program. */
export function find(program: string): string {
  const shell = `command -v ${program} || ls /usr/sbin/${program} /usr/lib/postgresql/*/bin/${program} | tail -n 1`
  const path = spawnSync('sh', ['-c', shell], { encoding: 'utf8' }).stdout.trim()
  if (!path) throw new Missing(`${program} is not installed`)
  return path
}

/**
 * A port that nobody listens on, below those that the kernel gives to clients: one of those that dial a server which is
 * down would sooner or later be given its port.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000)
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!isFree) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}

/** Tries until something is true. */
export async function until(what: string, isTrue: () => Promise<unknown>, seconds = 60): Promise<void> {
  const end = performance.now() + seconds * 1000
  while (!(await isTrue().catch(() => false))) {
    if (performance.now() > end) throw new Error(`${what}: not within ${seconds} s`)
    await sleep(20)
  }
}
