import { CompiledQuery, type Kysely, sql } from 'kysely'
import tap from 'tap'
import type { Database } from '../../src/database/index.ts'
import {
  type Given,
  isolate,
  type ScopedStatement,
  SharedScope,
  type UserScope,
} from '../../src/isolation/index.ts'
import { type App, build, identity } from './app.ts'

/** Runs raw SQL under a role as the walls do, but without types and guard, which no statement of the service can do. */
export function asRole(
  db: Database,
  { role = 'taskward_user', user = '' }: { role?: string; user?: string },
  text: string,
  ...parameters: unknown[]
): Promise<Record<string, unknown>[]> {
  return db.asLogin((login) =>
    login.transaction().execute(async (trx) => {
      if (db.rls) await sql`select set_config('role', ${role}, true)`.execute(trx)
      // As it reaches the workers of Citus; elsewhere nobody reads the first of them.
      await sql`select set_config('citus.propagate_set_commands', 'local', true)`.execute(trx)
      await sql`set local app.user_id = ${sql.lit(user)}`.execute(trx)
      const { rows } = await trx.executeQuery(CompiledQuery.raw(text, parameters))
      return rows as Record<string, unknown>[]
    }),
  )
}

/** Runs several statements, one after the other; none holds a semicolon, but in front of an `end`. */
export async function runAll(db: Kysely<never>, text: string): Promise<void> {
  for (const one of text.split(/;(?! end)/).filter((part) => part.trim())) await sql.raw(one).execute(db)
}

/** Runs in a transaction of the login that is rolled back. */
export async function rolledBack<T>(db: Database, use: (trx: Kysely<never>) => Promise<T>): Promise<T> {
  return db.asLogin(async (login) => {
    const trx = await login.startTransaction().execute()
    return use(trx).finally(() => trx.rollback().execute())
  })
}

const apps = new WeakMap<Database, ReturnType<typeof appWithScopes>>()

/** A scope as requests get it: only a verified token gives one. */
export async function scopeOf(db: Database, user: string): Promise<UserScope> {
  const made = apps.get(db) ?? appWithScopes(db)
  apps.set(db, made)
  const { app, scopes } = await made
  await app.inject({ url: '/scope', headers: (await identity(user)).headers })
  return scopes.get(user) as UserScope
}

async function appWithScopes(db: Database) {
  const scopes = new Map<string, UserScope>()
  const routes = (app: App) =>
    void app.get('/scope', { onRequest: app.authenticate }, async ({ user, untimedScope: scope }) => {
      scopes.set(user.id, scope)
      return ''
    })
  return { app: await build(tap, { database: db, routes }), scopes }
}

const { sharedStatement } = isolate<never, Record<never, never>, Record<never, never>>({
  owner: { user_id: () => '' },
  settings: 'app',
  roles: { owned: 'taskward_user', shared: 'taskward_service' },
  owned: {},
  shared: {},
  functions: ['pg_sleep'],
})
const divide = sharedStatement(() => sql`select 1 / 0 as one`)
const sleep = sharedStatement(
  (_, { seconds }: Given<{ seconds: number }>) => sql`select pg_sleep(${seconds}::float8)`,
)

/** A statement that fails when it runs. */
export const failing = (db: Database): ScopedStatement => new SharedScope(db).bind(divide, {})
/** A statement that takes half a second, or another time. */
export const slow = (db: Database, seconds = 0.5): ScopedStatement =>
  new SharedScope(db).bind(sleep, { seconds })
