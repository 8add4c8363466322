import { ConfigError, readConfig, readOwnerConfig } from '../config.ts'
import { connect } from '../database/index.ts'
import { diagnose, migrate } from '../migrations/index.ts'
import { isVisible } from '../tokens/index.ts'
import { type Command, command, type ExitCode, type Io, UsageError } from './command.ts'
import { examine } from './doctor.ts'
import { mintToken } from './mint-token.ts'
import { proveLines } from './prove.ts'

const MIGRATE =
  'npm run migrate                                     bring the database of DATABASE_URL up to date'
const DOCTOR = `npm run doctor                                      check the environment, keys, clocks, Redis and database
  npm run -s doctor -- --token TOKEN                  say why a token is refused; --token - reads standard input`
const TOKEN =
  'npm run -s token -- [--sub ID] [--email E] [--days N] sign a token with BETTER_AUTH_SECRET; default: --sub demo-user --days 7'
const PROVE =
  'npm run -s prove -- [--help]                        prove SQL statements, one a line on standard input'

const usageOf = (...lines: string[]) => `Usage:\n${lines.map((line) => `  ${line}`).join('\n')}`
const USAGE = usageOf(MIGRATE, DOCTOR, TOKEN, PROVE)

const commands: Record<string, Command> = {
  migrate: command(usageOf(MIGRATE), [], async (_options, { variables, print }) => {
    const { url, rls, login } = readOwnerConfig(variables)
    const database = await connect({ url, rls })
    try {
      const done = await migrate(database, login)
      print(done.length > 0 ? `Migrated: ${done.join(', ')}` : 'The database is up to date.')
      const faults = await diagnose(database)
      for (const fault of faults) print(`FAIL ${fault}`)
      return faults.length > 0 ? 1 : 0
    } finally {
      await database.close()
    }
  }),

  doctor: command(usageOf(DOCTOR), ['token'], async ({ token }, { variables, input, print }) => {
    const text = token === '-' ? await readAll(input) : token
    if (text?.trim() === '') throw new UsageError('--token is empty: no token came')
    let faults = 0
    for await (const { check, advice, notes = [], skipped } of examine(variables, text)) {
      print(`${skipped ? '--  ' : advice.length === 0 ? 'ok  ' : 'FAIL'} ${check}`)
      for (const line of [...advice, ...notes]) print(`     ${line}`)
      faults += advice.length
    }
    return faults > 0 ? 1 : 0
  }),

  token: command(usageOf(TOKEN), ['sub', 'email', 'days'], async (options, { variables, print }) => {
    const { sub = 'demo-user', email = `${sub}@example.com`, days = '7' } = options
    if (!isVisible(sub)) throw new ConfigError(['--sub must be 1-255 visible characters without spaces'])
    if (!(Number(days) > 0)) throw new ConfigError(['--days must be a number above 0'])
    const token = await mintToken(readConfig(variables), { sub, email, days: Number(days) })
    if (!token)
      throw new ConfigError(['BETTER_AUTH_SECRET is not set, so only Better Auth itself can issue tokens'])
    print(token)
    return 0
  }),

  prove: proveLines,
}

/** Runs the command that the first argument names. */
export async function runCommand([name = '', ...args]: string[], io: Io): Promise<ExitCode> {
  const run = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (run) return run(args, io)
  if (name === '--help') {
    io.print(USAGE)
    return 0
  }
  io.complain(USAGE)
  return 2
}

const MAX_INPUT_BYTES = 64 * 1024

async function readAll(input: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of input) {
    bytes += chunk.length
    if (bytes > MAX_INPUT_BYTES) throw new UsageError('standard input is too long for a token')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
