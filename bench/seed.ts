import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { connect } from '../src/database.ts'
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
 * Gives users some tasks each.
 * @returns the ids of up to 100 tasks of each
 */
export async function seed(
  url: string,
  { users, tasks, prefix = 'user' }: { users: number; tasks: number; prefix?: string },
): Promise<Map<string, number[]>> {
  const database = await connect({ url, poolMax: 4, statementTimeout: 600_000 })
  await database.migrate()
  const sql = `with made as (
      insert into tasks (user_id, title, description)
      select $1, 'Task ' || n, 'Something to do' from generate_series(1, $2::int) n returning id
    ) select id from made limit 100`
  const owned = new Map<string, number[]>()
  const names = Array.from({ length: users }, (_, i) => `${prefix}-${i}`)
  const fill = async () => {
    for (let userId = names.pop(); userId; userId = names.pop()) {
      const [rows] = await database.run([
        { userId, role: 'taskward_user', writes: true, name: 'seed', sql, parameters: [userId, tasks] },
      ])
      owned.set(
        userId,
        (rows as { id: number }[]).map(({ id }) => id),
      )
    }
  }
  await Promise.all(Array.from({ length: 16 }, fill))
  await database.close()
  return owned
}

/** The same users with a token each. */
export function callersOf(
  owned: Map<string, number[]>,
  sign: (sub: string) => Promise<string>,
): Promise<Caller[]> {
  return Promise.all([...owned].map(async ([sub, tasks]) => ({ token: await sign(sub), tasks })))
}
