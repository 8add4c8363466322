import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { remarksOnAccounts } from '../accounts.ts'
import { type Config, ConfigError, readConfig, type Variables } from '../config.ts'
import { connect, DirectoryInUseError } from '../database/index.ts'
import { SharedScope } from '../isolation/index.ts'
import { diagnose, remarksOn } from '../migrations/index.ts'
import { olderVariables } from '../older-variables.ts'
import { parseOrigins } from '../origins.ts'
import { explain } from '../process/index.ts'
import { isolation } from '../tables.ts'
import { examineToken } from './examine-token.ts'
import { examineIssuer } from './keys.ts'
import { examineRedis } from './redis.ts'

export interface Examination {
  /** What was checked. */
  check: string
  /** What is wrong and what to do, one sentence each; empty if all is well. */
  advice: string[]
  /** What was found beside, good or bad. */
  notes?: string[]
  /** Whether it could not be looked at, though nothing is wrong. */
  skipped?: boolean
}

/**
 * Checks everything that the service needs, one thing at a time, and says how to fix it. Changes nothing.
 * @param token to check instead, with only the part of the environment that this needs
 */
export async function* examine(variables: Variables, token?: string): AsyncGenerator<Examination> {
  let config: Config
  try {
    config = readConfig(variables)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    yield { check: 'environment', advice: error.message.split('\n') }
    return
  }
  if (token !== undefined) {
    yield examineToken(token, config)
    return
  }
  yield { check: 'environment', advice: [], notes: notesOn(variables, config) }
  if (config.jwksUrl) yield* examineIssuer(config.jwksUrl)
  if (config.REDIS_URL) yield examineRedis(config.REDIS_URL)
  yield examineDatabase(config)
}

function notesOn(variables: Variables, { frontendUrl, NODE_ENV }: Config): string[] {
  const local =
    NODE_ENV === 'development' ? ', and this machine on any port while NODE_ENV is development' : ''
  const older = olderVariables(variables)
  return [
    `Browsers may call from ${parseOrigins(frontendUrl).entries.join(', ')}${local}.`,
    ...(older ? [`${older}.`] : []),
  ]
}

async function examineDatabase({ databaseUrl, DATABASE_RLS }: Config): Promise<Examination> {
  const rls = DATABASE_RLS === 'on'
  const check = `database, migrations and row-level security (${DATABASE_RLS})`
  const [, directory] = /^pglite:(.+)/.exec(databaseUrl) ?? []
  if (directory && !existsSync(join(directory, 'PG_VERSION'))) {
    const notes = ['There is no embedded database yet. The service makes it when it starts: npm run dev']
    return { check, advice: [], skipped: true, notes }
  }
  try {
    const database = await connect({ url: databaseUrl, rls })
    try {
      const advice = await diagnose(database)
      if (advice.length > 0) return { check, advice }
      const scope = new SharedScope(isolation.confine(database))
      return { check, advice, notes: [...(await remarksOn(database)), ...(await remarksOnAccounts(scope))] }
    } finally {
      await database.close()
    }
  } catch (error) {
    // As while npm run dev runs, which is no fault.
    if (error instanceof DirectoryInUseError)
      return { check, advice: [], skipped: true, notes: [error.message] }
    return { check, advice: [explain(error as Error)] }
  }
}
