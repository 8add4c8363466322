import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import packageJson from '../../package.json' with { type: 'json' }
import { SECRET } from '../helper/app.ts'
import { COMPILED } from '../helper/child.ts'
import { embeddedUrl } from '../helper/database.ts'

t.setTimeout(300_000)

const { scripts } = packageJson
const DATABASE_URL = await embeddedUrl()

/** The project in a new folder, with this .env. */
function project(t: Test, env?: string): string {
  const folder = t.testdir()
  for (const name of ['src', 'plugins', 'routes', 'schemas', 'node_modules', 'package.json'])
    symlinkSync(resolve(name), join(folder, name))
  for (const name of ['run.js', '.env.example']) copyFileSync(name, join(folder, name))
  if (env !== undefined) writeFileSync(join(folder, '.env'), env)
  return folder
}

class Script {
  stdout = ''
  stderr = ''
  readonly child: ChildProcess
  /** How it ended, once nothing keeps its output open. */
  readonly ended: Promise<[code: number | null, signal: string | null]>
  /** Whether a child of it had to be killed, 30 s after it ended. */
  leftBehind = false

  /** Runs a script as npm does, through a shell. */
  constructor(t: Test, script: string, cwd: string, variables: Record<string, string> = {}) {
    const PATH = `${resolve('node_modules/.bin')}:${process.env.PATH}`
    const child = spawn('sh', ['-c', script], {
      cwd,
      detached: true,
      env: { ...COMPILED, PATH, DATABASE_URL, PORT: '0', ...variables },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.on('data', (chunk) => (this.stdout += chunk))
    child.stderr.on('data', (chunk) => (this.stderr += chunk))
    this.child = child
    this.ended = once(child, 'close') as Promise<[number | null, string | null]>
    child.once('exit', () => {
      const late = setTimeout(() => (this.leftBehind = this.kill()), 30_000)
      child.once('close', () => clearTimeout(late))
    })
    t.teardown(() => this.kill())
  }

  kill(): boolean {
    try {
      return process.kill(-(this.child.pid ?? 0), 'SIGKILL')
    } catch {
      return false // none is left
    }
  }

  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    for (let i = 0; i < 600; i++) {
      const found = pattern.exec(this.stdout)
      if (found) return found
      if (this.child.exitCode !== null) break
      await sleep(100)
    }
    throw new Error(`never printed: ${pattern}\n${this.stdout}\n${this.stderr}`)
  }
}

t.test('a Node.js that does not run TypeScript says which version is needed', async (t) => {
  const folder = project(t)
  for (const name of ['dev', 'start', 'migrate', 'doctor', 'token', 'example', 'test'] as const) {
    const script = scripts[name].replace('node ', 'node --no-strip-types ')
    const run = new Script(t, script, folder, { NODE_OPTIONS: '' })
    t.same(await run.ended, [1, null], name)
    t.match(run.stderr, /^taskward: Node\.js 22\.18 or newer is needed, [^\n]+\n$/, `${name}: one line`)
    t.equal(run.stdout, '', `${name} does nothing else`)
  }
})

t.test('npm start reads .env, and SIGTERM reaches the server', async (t) => {
  const secret = `BETTER_AUTH_SECRET=${SECRET}`
  const run = new Script(t, scripts.start, project(t, `${secret}\nHOST=127.0.0.2\nLOG_LEVEL=warn\n`), {
    LOG_LEVEL: 'info',
  })
  await run.printed(/Server listening at http:\/\/127\.0\.0\.2:/)
  t.pass('the environment takes precedence over .env')
  run.child.kill('SIGTERM')
  t.same(await run.ended, [0, null], 'it drains, and no shell in between exits before it')
  t.notOk(run.leftBehind)
  t.equal(run.stderr, '')
})

t.test('what npm start says about .env', async (t) => {
  const without = new Script(t, scripts.start, project(t))
  t.same(await without.ended, [1, null])
  t.match(without.stderr, /^taskward: [^\n]*BETTER_AUTH_SECRET[^\n]*\n$/, 'it may be missing')

  const folder = project(t)
  mkdirSync(join(folder, '.env'))
  const unreadable = new Script(t, scripts.start, folder)
  t.same(await unreadable.ended, [1, null])
  t.match(unreadable.stderr, /^taskward: \.env cannot be read \(EISDIR\)\.\n$/)
})

t.test('npm run dev', async (t) => {
  const run = new Script(t, scripts.dev, project(t), { npm_lifecycle_event: 'dev' })
  const [, address] = await run.printed(/\ncurl -s (http:\/\/localhost:\d+)\/todos .+\n\n/)

  const listening = [...run.stdout.matchAll(/listening at http:\/\/(\S+):\d+/g)].map(([, host]) => host)
  t.ok(
    listening.length > 0 && listening.every((host) => host === '127.0.0.1' || host === '[::1]'),
    `${listening}`,
  )
  t.match(
    run.stdout,
    /listening at [^\n]+\n\nSwagger UI {3}\S+\/docs\nToken {8}\S+\n {13}for demo-user, [^\n]+\n {13}[^\n]+\n\ncurl [^\n]+\n\n$/,
    'the welcome is in one piece, after the log',
  )

  // As when npm is killed: nothing forwards the signal.
  run.child.kill('SIGKILL')
  await run.ended
  t.notOk(run.leftBehind)
  await t.rejects(fetch(`${address}/health`), 'the server has ended too')
})

t.test('npm run dev listens on HOST', async (t) => {
  const run = new Script(t, scripts.dev, project(t), { HOST: '0.0.0.0' })
  await run.printed(/\ncurl [^\n]+\n\n/)
  const [log = '', welcome = ''] = run.stdout.split('\nSwagger UI ')
  t.match(log, /listening at http:\/\/127\.0\.0\.1:/)
  t.notMatch(welcome, /listening/, 'the welcome waits for every address')
})
