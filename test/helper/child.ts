import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import type { Test } from 'tap'
import { SECRET } from './app.ts'
import { embeddedUrl } from './database.ts'

export const ROOT = resolve(import.meta.dirname, '../..')
export const SERVER = join(ROOT, 'src/server.ts')
export const CLI = join(ROOT, 'src/cli.ts')
/** Part of database addresses; no output may contain it. */
export const PASSWORD = 'hunter2hunter2'
/** Nothing listens there. */
export const NOWHERE = `postgres://ada:${PASSWORD}@127.0.0.1:1/none`
export const PRODUCTION = { NODE_ENV: 'production', FRONTEND_URL: 'https://app.example.com' }

/** Variables of every process that a test starts: what it compiles is kept, and not optimised. */
export const COMPILED = {
  NODE_COMPILE_CACHE: resolve(process.env.NODE_COMPILE_CACHE ?? join(ROOT, '.tap', 'compile-cache')),
  NODE_OPTIONS: `--import=${pathToFileURL(join(import.meta.dirname, 'baseline.ts'))}`,
}

type Variables = Record<string, string | undefined>

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** A process of the service, and its output so far. */
export class Child {
  stdout = ''
  stderr = ''
  readonly process: ChildProcess
  readonly ended: Promise<Ended>

  /** @param stdout where standard output goes, if not to this.stdout */
  constructor(t: Test, args: string[], env: Variables, cwd: string, stdout: number | 'pipe' = 'pipe') {
    // With a process group of its own, so that none of its children is left behind.
    this.process = spawn(process.execPath, args, {
      cwd,
      detached: true,
      env: { ...COMPILED, ...env },
      stdio: ['ignore', stdout, 'pipe'],
    })
    this.process.stdout?.setEncoding('utf8').on('data', (chunk) => (this.stdout += chunk))
    this.process.stderr?.setEncoding('utf8').on('data', (chunk) => (this.stderr += chunk))
    this.ended = once(this.process, 'close').then(([code]) => ({
      code,
      stdout: this.stdout,
      stderr: this.stderr,
    }))
    t.teardown(() => this.kill())
  }

  kill(): void {
    try {
      process.kill(-(this.process.pid ?? 0), 'SIGKILL')
    } catch {
      // none is left
    }
  }

  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.process.kill(signal)
    return this.ended
  }

  /** Waits until this has been written to standard output a number of times. */
  async printed(pattern: RegExp, times = 1): Promise<RegExpExecArray> {
    for (;;) {
      const running = this.process.exitCode === null && this.process.signalCode === null
      const found = [...this.stdout.matchAll(new RegExp(pattern, 'gm'))][times - 1]
      if (found) return found
      if (!running) throw new Error(`never printed: ${pattern}\n${this.stdout}\n${this.stderr}`)
      await sleep(50)
    }
  }
}

/** Runs a command of the service in an empty folder, with these variables and no others. */
export function run(t: Test, args: string[], variables: Variables = {}, stdout?: number): Child {
  return new Child(t, args, variables, emptyFolder(t), stdout)
}

/** Runs the server; by default on its own embedded database and on a free port. */
export async function runServer(t: Test, variables: Variables = {}, stdout?: number): Promise<Child> {
  const DATABASE_URL = variables.DATABASE_URL ?? (await embeddedUrl())
  const valid = { BETTER_AUTH_SECRET: SECRET, DATABASE_URL, HOST: '127.0.0.1', PORT: '0' }
  return run(t, [SERVER], { ...valid, ...variables }, stdout)
}

/** Starts the server and waits until it listens. */
export async function start(t: Test, variables?: Variables): Promise<Child & { url: string }> {
  const server = await runServer(t, variables)
  const [, url = ''] = await server.printed(/Server listening at ([^"]+)"/)
  return Object.assign(server, { url })
}

/** Expects exit code 1, and one sentence on standard error that reveals no secret. */
export async function fails(t: Test, child: Child | Promise<Child>, sentence: RegExp): Promise<void> {
  const { code, stderr } = await (await child).ended
  t.equal(code, 1, `exit code 1: ${sentence}`)
  t.match(stderr, /^taskward: [^\n]+[^\s]\n$/, 'one line on standard error')
  t.match(stderr, sentence, `it says ${sentence}`)
  t.notOk(stderr.includes(PASSWORD) || stderr.includes(SECRET), 'it reveals no secret')
}

/** A temporary folder, removed after the test. */
export function emptyFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'taskward-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

const NOT_CLONED = ['node_modules', 'generated', '.git', '.tap', '.env', '.data', '.next']

/** The project as in a fresh clone, with its packages installed. */
export function clone(t: Test): string {
  const folder = emptyFolder(t)
  cpSync(ROOT, folder, { recursive: true, filter: (source) => !NOT_CLONED.includes(basename(source)) })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  // Its tests copy the databases that exist already.
  mkdirSync(join(folder, '.tap'))
  mkdirSync(join(ROOT, '.tap', 'databases'), { recursive: true })
  symlinkSync(join(ROOT, '.tap', 'databases'), join(folder, '.tap', 'databases'))
  return folder
}
