import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import pretty from 'pino-pretty'
import { ConfigError } from '../plugins/env.ts'
import { exitWith } from './exit.ts'
import { mintToken } from './token.ts'

const FILE = '.env'
const print = (line = ''): void => void process.stdout.write(`${line}\n`)

try {
  makeEnvFile()
  const env = { ...readEnvFile(), ...process.env }
  const token = await mintToken(env, { sub: 'demo-user', email: 'demo@example.com' })
  run(token)
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
      `${FILE} line ${wrong + 1} is not NAME=value. Mend it, or delete the file to get a new one.`,
    ])
  return parseEnv(text)
}

/** Starts the server anew whenever a file of it changes, and makes its log readable. */
function run(token: string | undefined): void {
  const child = spawn(
    process.execPath,
    ['--watch', '--watch-preserve-output', `--env-file=${FILE}`, 'src/server.ts'],
    {
      stdio: ['inherit', 'pipe', 'pipe'],
      env: { ...process.env, NODE_ENV: process.env.NODE_ENV ?? 'development' },
    },
  )
  let isUp = false
  child.stdout.pipe(pretty({ colorize: process.stdout.isTTY, ignore: 'time,request_id', singleLine: true }))
  child.stdout.on('data', (lines: Buffer) => {
    // Nothing to wait for where it never started: its sentence on standard error says what to do.
    if (!isUp && String(lines).includes('Failed running')) child.kill()
    const port = /Server listening at [^"]*:(\d+)"/.exec(String(lines))?.[1]
    if (!port || isUp) return
    isUp = true
    setImmediate(() => printWelcome(`http://localhost:${port}`, token))
  })
  child.stderr.on('data', (text: Buffer) => {
    process.stderr.write(text)
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  child.on('close', (code) => process.exit(isUp ? (code ?? 0) : 1))
}

function printWelcome(address: string, token: string | undefined): void {
  print()
  print(`Swagger UI   ${address}/docs`)
  if (!token) return print('Token        sign in at your Better Auth server: GET /api/auth/token')
  print(`Token        ${token}`)
  print('             for demo-user, 7 days: paste it under Authorize. More: npm run token -- --sub somebody')
  print()
  print(
    `curl -s ${address}/todos -H 'Authorization: Bearer ${token}' ` +
      `-H 'Content-Type: application/json' -d '{"title":"My first task"}'`,
  )
  print()
}
