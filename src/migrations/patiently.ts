import { setTimeout as sleep } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import { sqlStateOf } from '../database/index.ts'

const LOCK_TIMEOUT = '100ms'
const PAUSE_MS = 400
const ATTEMPTS = 60

/**
 * Changes a table that is in use, in a migration. Whoever waits for the lock on a table holds up everyone behind, so this
 * waits for a moment only, and tries again while a long transaction has the table.
 * @throws the error of the last attempt, after half a minute: migrate again
 */
export async function patiently(db: Kysely<any>, change: () => Promise<unknown>): Promise<void> {
  await sql`select set_config('lock_timeout', ${LOCK_TIMEOUT}, true)`.execute(db)
  for (let attempt = 1; ; attempt++) {
    await sql`savepoint patiently`.execute(db)
    try {
      await change()
      await sql`release savepoint patiently`.execute(db)
      return
    } catch (error) {
      if (sqlStateOf(error) !== '55P03' || attempt === ATTEMPTS) throw error
      await sql`rollback to savepoint patiently`.execute(db)
      await sleep(PAUSE_MS)
    }
  }
}
