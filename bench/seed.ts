import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import pg from 'pg'
import { connect } from '../src/database/index.ts'
import { migrate } from '../src/migrations/index.ts'
import type { Caller } from './load.ts'

/** A new database on the server of `address`. */
export async function makeDatabase(
  address: string,
): Promise<{ url: string; version: string; drop(): Promise<void> }> {
  const name = `taskward_bench_${randomUUID().replaceAll('-', '')}`
  const admin = new pg.Client({ connectionString: address })
  await admin.connect()
  await admin.query(`create database ${name}`)
  const { rows } = await admin.query('show server_version')
  const url = new URL(address)
  url.pathname = name
  return {
    url: url.href,
    version: `PostgreSQL ${rows[0].server_version}`,
    async drop() {
      await admin.query(`drop database ${name} with (force)`)
      await admin.end()
    },
  }
}

/**
 * Gives each user some tasks, with the rights of the login, which must be a superuser or bypass row-level security.
 * @returns the ids of up to 100 tasks of each
 */
export async function seed(
  url: string,
  { users, tasks, prefix = 'user' }: { users: number; tasks: number; prefix?: string },
): Promise<Map<string, number[]>> {
  const database = await connect({ url })
  await migrate(database)
  const names = Array.from({ length: users }, (_, i) => `${prefix}-${i}`)
  const { rows } = await database.asLogin(async (db) => {
    await sql`insert into tasks (user_id, title, description)
      select name, 'Task ' || n, 'Something to do' from unnest(${names}::text[]) as name, generate_series(1, ${tasks}::int) as n
    `.execute(db)
    return sql<{ user_id: string; ids: string[] }>`select user_id, array_agg(id::text) as ids
      from (select user_id, id, row_number() over (partition by user_id) as n from tasks where user_id = any(${names})) as t
      where n <= 100 group by user_id`.execute(db)
  })
  await database.close()
  return new Map(rows.map(({ user_id, ids }) => [user_id, ids.map(Number)]))
}

/** The same users with a token each. */
export function callersOf(
  owned: Map<string, number[]>,
  sign: (sub: string) => Promise<string>,
): Promise<Caller[]> {
  return Promise.all([...owned].map(async ([sub, tasks]) => ({ token: await sign(sub), tasks })))
}
