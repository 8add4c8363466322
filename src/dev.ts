import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseEnv } from 'node:util'
import { prettyFactory } from 'pino-pretty'
import { mintToken } from './cli/index.ts'
import { ConfigError, readConfig } from './config.ts'
import { exitWith, onOrphaned } from './process/index.ts'

const FILE = '.env'
/** Time to collect the server's addresses: it logs each of them once it listens. */
const LISTENING_MS = 200
const print = (line: string): void => void process.stdout.write(`${line}\n`)

try {
  makeEnvFile()
  const env = { ...readEnvFile(), ...process.env }
  const token = await mintToken(readConfig(env), { sub: 'demo-user', email: 'demo@example.com' })
  run(env, token)
} catch (error) {
  exitWith(error)
}

function makeEnvFile(): void {
  if (existsSync(FILE)) return
  const secret = randomBytes(32).toString('base64url')
  const example = readFileSync('.env.example', 'utf8')
  try {
    writeFileSync(FILE, example.replace(/^BETTER_AUTH_SECRET=.*$/m, `BETTER_AUTH_SECRET=${secret}`), {
      mode: 0o600,
    })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new ConfigError([`${FILE} cannot be written here (${code}): make this folder writable.`])
  }
  print(`Made ${FILE} from .env.example, with a new secret.`)
}

function readEnvFile(): NodeJS.Dict<string> {
  let text: string
  try {
    text = readFileSync(FILE, 'utf8')
  } catch (error) {
    throw new ConfigError([`${FILE} cannot be read (${(error as NodeJS.ErrnoException).code}).`])
  }
  const wrong = text.split(/\r?\n/).findIndex((line) => !/^\s*(#.*|(export\s+)?\w+\s*=.*)?$/.test(line))
  if (wrong >= 0)
    throw new ConfigError([
      `${FILE} line ${wrong + 1} is not NAME=value. Fix it, or delete the file to get a new one.`,
    ])
  return parseEnv(text)
}

/** Restarts the server whenever one of its files or .env changes, and formats its log for people. */
function run(env: NodeJS.Dict<string>, token: string | undefined): void {
  const child = spawn(
    process.execPath,
    ['--watch', '--watch-preserve-output', `--env-file=${FILE}`, 'src/server.ts'],
    {
      stdio: ['inherit', 'pipe', 'pipe'],
      env: {
        ...process.env,
        NODE_ENV: process.env.NODE_ENV ?? 'development',
        HOST: env.HOST?.trim() || 'localhost',
      },
    },
  )
  const end = () => void child.kill('SIGTERM')
  const format = prettyFactory({
    colorize: process.stdout.isTTY,
    ignore: 'time,request_id',
    singleLine: true,
  })
  let address: string | undefined
  createInterface({ input: child.stdout }).on('line', (line) => {
    // A server that never started waits for no change: standard error says what to do.
    if (!address && line.startsWith('Failed running')) return end()
    process.stdout.write(format(line))
    if (address) return
    address = /Server listening at ([^"]+)"/.exec(line)?.[1]
    if (address) setTimeout(printWelcome, LISTENING_MS, address, token)
  })
  child.stderr.pipe(process.stderr)
  child.on('close', (code) => process.exit(address ? (code ?? 0) : 1))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  process.stdout.on('error', end) // its reader has gone
  if (process.env.npm_lifecycle_event) onOrphaned(end)
}

/** Printed in one piece, so that no log line lands in the middle. */
function printWelcome(listening: string, token: string | undefined): void {
  const address = listening.replace(/\/\/(127\.0\.0\.1|\[::1?\]|0\.0\.0\.0):/, '//localhost:')
  const lines = token
    ? [
        `Token        ${token}`,
        '             for demo-user, valid for 7 days: paste it under Authorize.',
        '             For another user: npm run token -- --sub somebody',
        '',
        `curl -s ${address}/todos -H 'Authorization: Bearer ${token}' ` +
          `-H 'Content-Type: application/json' -d '{"title":"My first task"}'`,
      ]
    : ['Token        sign in at your Better Auth server: GET /api/auth/token']
  print(['', `Swagger UI   ${address}/docs`, ...lines, ''].join('\n'))
}
