import { type Kysely, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import * as tasks from './0001_tasks.ts'
import * as accounts from './0002_accounts.ts'

/** Forward only, in this order. A released migration is never changed: add another. */
const migrations: Record<string, Migration> = { '0001_tasks': tasks, '0002_accounts': accounts }

/** Runs what is missing, under a lock, so that several instances may start at once. Returns the names that were run. */
export async function migrateToLatest(db: Kysely<any>): Promise<string[]> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } })
  const { error, results = [] } = await migrator.migrateToLatest()
  if (error) throw error
  return results.map(({ migrationName }) => migrationName)
}

/** Whether every migration that this code knows has been run. A newer schema counts: deploys overlap. */
export async function isMigrated(db: Kysely<any>): Promise<boolean> {
  const { rows } = await sql<{ name: string }>`select name from kysely_migration`
    .execute(db)
    .catch((error) => {
      if (error.code === '42P01') return { rows: [] } // no table: nothing was ever run
      throw error
    })
  const done = new Set(rows.map(({ name }) => name))
  return Object.keys(migrations).every((name) => done.has(name))
}
