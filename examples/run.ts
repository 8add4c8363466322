// Starts taskward and the front end in examples/next, each on an embedded database, and ends both when either ends.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { onOrphaned } from '../src/process/index.ts'

const USAGE = `Usage: npm run example [-- OPTIONS]
  --port N         of the front end; default 3000
  --tasks-port N   of taskward; default 8000
  --data FOLDER    where both keep their data; default examples/next/.data
  --production     builds the front end first
`
const ROOT = resolve(import.meta.dirname, '..')
const APP = join(ROOT, 'examples/next')
/** Time that everything has to end by itself. */
const END_MS = 10_000
/** Ctrl-C reaches every process of the terminal, and taskward takes a second signal as: at once. So that one waits. */
const CTRL_C_MS = 1_000

const options = readOptions()
const front = `http://localhost:${options.port}`
const api = `http://localhost:${options['tasks-port']}`
const data = resolve(options.data)
/** Of this environment nothing else: variables meant for another deployment would change what runs here. */
const { PATH, HOME } = process.env
const BETTER_AUTH_URL = front

const running = new Set<ChildProcess>()
let ending = false
process.on('SIGTERM', () => end(0))
process.on('SIGINT', () => end(0, CTRL_C_MS))
if (process.env.npm_lifecycle_event) onOrphaned(() => end(0))
process.on('exit', () => signalAll('SIGKILL'))

await refuseTaken('port')
await refuseTaken('tasks-port')
await installPackages()
makeEnvFile()
mkdirSync(data, { recursive: true, mode: 0o700 })
start('taskward', ['src/server.ts'], ROOT, {
  BETTER_AUTH_URL,
  FRONTEND_URL: front,
  DATABASE_URL: `pglite:${join(data, 'tasks')}`,
  HOST: 'localhost',
  PORT: options['tasks-port'],
  LOG_LEVEL: 'warn',
})
if (options.production) await once(next('build'), 'exit')
if (!ending) next(options.production ? 'start' : 'dev', '--hostname', 'localhost', '--port', options.port)
await Promise.all([answers(`${api}/ready`), answers(`${front}/sign-in`)])
if (!ending) {
  process.stdout.write(
    `\nOpen ${front} — Ctrl-C ends it. The API it uses: ${api}/docs\n` +
      `A token to paste there: sign in, then open ${front}/api/auth/token\n\n`,
  )
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        port: { type: 'string', default: '3000' },
        'tasks-port': { type: 'string', default: '8000' },
        data: { type: 'string', default: join(APP, '.data') },
        production: { type: 'boolean', default: false },
      },
    }).values
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}`)
    process.exit(2)
  }
}

/** Asks rather than listens: a server on only one of the addresses of localhost would be in the way too. */
async function refuseTaken(option: 'port' | 'tasks-port') {
  const port = options[option]
  const socket = connect({ host: 'localhost', port: Number(port) })
  const isTaken = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  if (!isTaken) return
  process.stderr.write(
    `taskward: Port ${port} is taken by another process. Stop it, or choose another port: ` +
      `npm run example -- --${option} ${Number(port) + 10}\n`,
  )
  process.exit(1)
}

/** Installs the packages of the front end, if they are missing or older than its lock file. */
async function installPackages() {
  const modifiedAt = (file: string) =>
    statSync(join(APP, file), { throwIfNoEntry: false })?.mtimeMs ?? -Infinity
  if (modifiedAt('node_modules/.package-lock.json') >= modifiedAt('package-lock.json')) return
  process.stdout.write('Installing the packages of examples/next, which takes about half a minute.\n')
  const npm = spawn('npm', ['ci', '--include=dev', '--no-audit', '--no-fund'], {
    cwd: APP,
    stdio: 'inherit',
    shell: process.platform === 'win32', // npm is a .cmd there
  })
  const [code] = await once(npm, 'exit')
  if (code !== 0) process.exit(1)
}

function makeEnvFile() {
  const file = join(APP, '.env')
  if (existsSync(file)) return
  const secret = randomBytes(32).toString('base64url')
  const example = readFileSync(`${file}.example`, 'utf8')
  writeFileSync(file, example.replace(/^BETTER_AUTH_SECRET=$/m, `BETTER_AUTH_SECRET=${secret}`), {
    mode: 0o600,
  })
}

function next(command: 'build' | 'dev' | 'start', ...args: string[]): ChildProcess {
  return start(`next ${command}`, ['node_modules/next/dist/bin/next', command, ...args], APP, {
    AUTH_DATABASE: join(data, 'auth.sqlite'),
    BETTER_AUTH_URL,
    NEXT_PUBLIC_TASKS_URL: api,
    NEXT_TELEMETRY_DISABLED: '1',
  })
}

/** Runs a file with this Node.js. If it ends by itself, so does everything else, unless it was a build that worked. */
function start(name: string, args: string[], cwd: string, env: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, args, {
    cwd,
    env: { PATH, HOME, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  running.add(child)
  child.on('exit', (code) => {
    running.delete(child)
    if (ending || (code === 0 && name === 'next build')) return
    process.stderr.write(`taskward: ${name} has ended.\n`)
    end(1)
  })
  return child
}

async function answers(url: string) {
  while (!(await fetch(url).catch(() => undefined))?.ok) {
    if (ending) return
    await sleep(200)
  }
}

function end(code: number, afterMs = 0) {
  if (ending) return
  ending = true
  process.exitCode = code
  setTimeout(signalAll, afterMs, 'SIGTERM').unref()
  setTimeout(() => process.exit(), END_MS).unref()
}

function signalAll(signal: NodeJS.Signals) {
  for (const child of running) child.kill(signal)
}
