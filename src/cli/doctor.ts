import { type Config, readConfig, type Variables } from '../config.ts'
import { connect } from '../database/index.ts'
import { diagnose } from '../migrations/index.ts'
import { explain } from '../process/index.ts'

export interface Examination {
  /** What was checked. */
  check: string
  /** What is wrong and what to do, one sentence each; empty if all is well. */
  advice: string[]
}

/** Checks everything that the service needs, one thing at a time, and says how to fix it. Changes nothing. */
export async function* examine(variables: Variables): AsyncGenerator<Examination> {
  let config: Config
  try {
    config = readConfig(variables)
  } catch (error) {
    yield { check: 'environment', advice: (error as Error).message.split('\n') }
    return
  }
  yield { check: 'environment', advice: [] }
  if (config.jwksUrl) yield examineKeys(config.jwksUrl)
  yield examineDatabase(config)
}

async function examineKeys(url: URL): Promise<Examination> {
  const check = `keys of the token issuer at ${url.href}`
  try {
    const response = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(5000) })
    const { keys } = (await response.json()) as { keys?: unknown[] }
    if (response.ok && Array.isArray(keys) && keys.length > 0) return { check, advice: [] }
    return {
      check,
      advice: ['There is no key there yet. Is the jwt plugin on, and has anyone asked for a token?'],
    }
  } catch (error) {
    return { check, advice: [`They cannot be read (${(error as Error).message}). Is BETTER_AUTH_URL right?`] }
  }
}

async function examineDatabase({ databaseUrl, DATABASE_RLS }: Config): Promise<Examination> {
  const rls = DATABASE_RLS === 'on'
  const check = `database, migrations and row-level security (${DATABASE_RLS})`
  try {
    const database = await connect({ url: databaseUrl, rls })
    const advice = await diagnose(database).finally(() => database.close())
    return { check, advice }
  } catch (error) {
    return { check, advice: [explain(error as Error)] }
  }
}
