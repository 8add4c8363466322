import { type Kysely, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import { type Database, refusesWrites } from '../database/index.ts'
import type { CatalogFault } from '../isolation/index.ts'
import { unavailable } from '../problem.ts'
import { isolation } from '../tables.ts'
import * as tasks from './0001_tasks.ts'
import * as accounts from './0002_accounts.ts'
import * as taskVersion from './0003_task_version.ts'
import * as idempotencyKeys from './0004_idempotency_keys.ts'
import * as taskFields from './0005_task_fields.ts'

/** Forward only, in this order. A released migration is never changed: add another. */
const migrations: Record<string, Migration> = {
  '0001_tasks': tasks,
  '0002_accounts': accounts,
  '0003_task_version': taskVersion,
  '0004_idempotency_keys': idempotencyKeys,
  '0005_task_fields': taskFields,
}

/**
 * Brings the schema up to date, under a lock, so that several instances may call it at once. That of a newer release
 * stays as it is.
 * @param login the service's login, if it is not the one that runs this
 * @returns the names of the migrations that were run
 * @throws MissingGrantError if the login may not make the roles that statements run under
 */
export function migrate(database: Database, login?: string): Promise<string[]> {
  return database.asLogin(async (db) => {
    if ((await compareSchema(db)) === 'newer') return [] // an older release has been started again
    const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } })
    const { error, results = [] } = await migrator.migrateToLatest()
    if (error) throw error
    await isolation.distribute(db)
    if (database.rls) await isolation.grantRoles(db, login)
    // For compareSchema().
    if (login) await sql`grant select on kysely_migration to ${sql.id(login)}`.execute(db)
    return results.map(({ migrationName }) => migrationName)
  })
}

/**
 * Creates the check for /ready: the database answers, takes writes, has the latest migration, lets the login take the roles that
 * statements run under, and matches src/tables.ts. Concurrent callers share one check.
 *
 * @returns a function that throws HttpProblem 503, and says which of these fails
 */
export function readinessOf(database: Database): () => Promise<void> {
  let underWay: Promise<void> | undefined

  const check = () =>
    database.check(async (db, run) => {
      await refuseReadOnly(db, database.writesHang)
      const schema = await compareSchema(db)
      if (schema === 'older')
        throw unavailable('not_migrated', 'The database lacks migrations. Run: npm run migrate')
      const faults = await isolation.compareCatalog(db, database.rls)
      const broken = faults.filter(isBroken(schema))
      if (broken.length > 0) {
        const cause = new Error(broken.map(({ fault, repair }) => `${fault} ${repair}`).join(' '))
        throw unavailable(
          'isolation_broken',
          'The walls between users are not as declared. Run: npm run doctor',
          cause,
        )
      }
      // Needs everything that a scoped statement needs: connection, settings, role, one transaction.
      await run(isolation.probes).catch((error) => {
        if (!['42501', '22023'].includes(error.code)) throw error // not permitted, no such role
        const detail = 'The login may not take the roles that statements run under. Run: npm run doctor'
        throw unavailable('role_missing', detail, error)
      })
      if (faults.some(({ kind }) => kind === 'grant')) {
        throw unavailable('role_missing', 'A role lacks rights on its tables. Run: npm run doctor')
      }
    })

  const explain = (error: unknown) => {
    if (refusesWrites(error)) throw unavailable('read_only', 'No host of DATABASE_URL takes writes.', error)
    throw error
  }

  return () =>
    (underWay ??= check()
      .catch(explain)
      .finally(() => (underWay = undefined)))
}

/**
 * That a synchronous standby is lost is known once a write has hung, and if the login sees no standby that PostgreSQL
 * could be waiting for. One that is connected and does not answer, or too few of several, are not found.
 */
async function refuseReadOnly(db: Kysely<never>, writesHang: boolean): Promise<void> {
  const { rows } = await sql<{ read_only: boolean; standby_lost: boolean }>`
    select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as read_only,
      current_setting('synchronous_standby_names') <> '' and not exists (
        select from pg_stat_replication where coalesce(sync_state in ('sync', 'quorum'), true)
      ) as standby_lost`.execute(db)
  if (rows[0]?.read_only)
    throw unavailable('read_only', 'The database takes no writes: it is read-only, or a standby.')
  if (writesHang && rows[0]?.standby_lost)
    throw unavailable('read_only', 'The database finishes no writes: its synchronous standby is gone.')
}

/** What is wrong with the schema, one sentence each, with the SQL or command that repairs it; empty if all is well. */
export function diagnose(database: Database): Promise<string[]> {
  return database.asLogin(async (db) => {
    const schema = await compareSchema(db)
    if (schema === 'older') {
      const remedy = database.embedded
        ? 'Start the service, which runs them: npm run dev'
        : 'Run: npm run migrate'
      return [`The database lacks migrations. ${remedy}`]
    }
    const faults = (await isolation.compareCatalog(db, database.rls)).filter(isBroken(schema))
    const grants = database.rls ? await isolation.missingGrants(db) : []
    // What is repaired here is repaired on the shards as well.
    if (faults.length + grants.length === 0) faults.push(...(await isolation.compareShards(db, database.rls)))
    return [
      ...faults.map(({ fault, repair }) => `${fault} ${repair}`),
      ...grants.map((grant) => `The owner of the database, or an administrator, must run: ${grant}`),
    ]
  }, database.statementTimeout)
}

const ASCII_ALONE =
  'Search, tags and the sort by title ignore case for ASCII letters alone, by the locale of the database (lc_ctype): ' +
  "restore a dump into one made with: create database NAME template template0 lc_ctype 'C.UTF-8'"

/** What is as declared, and yet not as users may expect; one sentence each. */
export function remarksOn(database: Database): Promise<string[]> {
  return database.asLogin(async (db) => {
    const { rows } = await sql<{ is_known: boolean }>`select lower('É') = 'é' as is_known`.execute(db)
    return rows[0]?.is_known ? [] : [ASCII_ALONE]
  }, database.statementTimeout)
}

type Schema = 'older' | 'same' | 'newer'

/** Compares the migrations that were run with those that this code knows. A newer schema will do: deploys overlap. */
async function compareSchema(db: Kysely<any>): Promise<Schema> {
  const { rows } = await sql<{ name: string }>`select name from kysely_migration`
    .execute(db)
    .catch((error) => {
      if (error.code === '42P01') return { rows: [] } // no table: nothing was ever run
      throw error
    })
  const done = new Set(rows.map(({ name }) => name))
  const known = Object.keys(migrations)
  if (!known.every((name) => done.has(name))) return 'older'
  return done.size > known.length ? 'newer' : 'same'
}

/** Whether a fault opens a wall. Tables that a newer release has made are for that release to declare and to check. */
const isBroken =
  (schema: Schema) =>
  ({ kind }: CatalogFault): boolean =>
    kind === 'isolation' || (kind === 'undeclared' && schema !== 'newer')
