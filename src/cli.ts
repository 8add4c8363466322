import { existsSync } from 'node:fs'
import { loadEnvFile } from 'node:process'
import { parseArgs } from 'node:util'
import { checkDatabaseUrl, ConfigError } from '../plugins/env.ts'
import { connect } from './database.ts'
import { examine } from './doctor.ts'
import { exitWith } from './exit.ts'
import { mintToken } from './token.ts'

const usage = `Usage:
  npm run migrate                                    bring the database of DATABASE_URL up to date
  npm run doctor                                     check the environment, the keys and the database
  npm run token -- [--sub ID] [--email E] [--days N] sign a token with BETTER_AUTH_SECRET`

const print = (line: string) => process.stdout.write(`${line}\n`)

const commands: Record<string, (args: string[]) => Promise<void>> = {
  async migrate() {
    const url = process.env.DATABASE_URL || process.env.NEON_DATABASE_URL
    if (!url) throw new ConfigError(['DATABASE_URL is not set: postgres://USER:PASSWORD@HOST/DATABASE'])
    try {
      checkDatabaseUrl(url)
    } catch (error) {
      throw new ConfigError([`DATABASE_URL: ${(error as Error).message}`])
    }
    const database = await connect({ url, rls: process.env.DATABASE_RLS !== 'off' })
    const done = await database.migrate()
    await database.close()
    print(done.length > 0 ? `Migrated: ${done.join(', ')}` : 'The database is up to date.')
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
    const token = await mintToken(process.env, { sub, email, days: Number(days) })
    if (!token)
      throw new ConfigError(['BETTER_AUTH_SECRET is not set, so only Better Auth itself can issue tokens'])
    print(token)
  },
}

if (existsSync('.env')) loadEnvFile('.env')
const [name = '', ...args] = process.argv.slice(2)
const command = Object.hasOwn(commands, name) ? commands[name] : undefined
try {
  if (!command) throw new ConfigError([usage])
  await command(args)
} catch (error) {
  exitWith(error)
}
