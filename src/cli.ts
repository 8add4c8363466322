import { parseArgs } from 'node:util'
import { examine, mintToken, proveLines } from './cli/index.ts'
import { ConfigError, readConfig, readOwnerConfig } from './config.ts'
import { connect } from './database/index.ts'
import { diagnose, migrate } from './migrations/index.ts'
import { exitWith } from './process/index.ts'

const usage = `Usage:
  npm run migrate                                    bring the database of DATABASE_URL up to date
  npm run doctor                                     check the environment, the keys and the database
  npm run token -- [--sub ID] [--email E] [--days N] sign a token with BETTER_AUTH_SECRET
  npm run -s prove -- [--help]                       prove SQL statements, one per line on standard input`

const print = (line: string) => process.stdout.write(`${line}\n`)

const commands: Record<string, (args: string[]) => Promise<void>> = {
  async migrate() {
    const { url, rls, login } = readOwnerConfig(process.env)
    const database = await connect({ url, rls })
    try {
      const done = await migrate(database, login)
      print(done.length > 0 ? `Migrated: ${done.join(', ')}` : 'The database is up to date.')
      const faults = await diagnose(database)
      for (const fault of faults) print(`FAIL ${fault}`)
      if (faults.length > 0) process.exitCode = 1
    } finally {
      await database.close()
    }
  },

  async doctor() {
    const faults: string[] = []
    for await (const { check, advice } of examine(process.env)) {
      print(`${advice.length === 0 ? 'ok  ' : 'FAIL'} ${check}`)
      for (const line of advice) print(`     ${line}`)
      faults.push(...advice)
    }
    if (faults.length > 0) process.exitCode = 1
  },

  async token(args) {
    const options = { sub: { type: 'string' }, email: { type: 'string' }, days: { type: 'string' } } as const
    const {
      sub = 'demo-user',
      email = `${sub}@example.com`,
      days = '7',
    } = parseArgs({ args, options }).values
    if (!(Number(days) > 0)) throw new ConfigError(['--days must be a number above 0'])
    const token = await mintToken(readConfig(process.env), { sub, email, days: Number(days) })
    if (!token)
      throw new ConfigError(['BETTER_AUTH_SECRET is not set, so only Better Auth itself can issue tokens'])
    print(token)
  },

  async prove(args) {
    const complain = (line: string) => process.stderr.write(`${line}\n`)
    process.exitCode = await proveLines(args, { input: process.stdin, print, complain })
  },
}

const [name = '', ...args] = process.argv.slice(2)
const command = Object.hasOwn(commands, name) ? commands[name] : undefined
try {
  if (!command) throw new ConfigError([usage])
  await command(args)
} catch (error) {
  exitWith(error)
}
