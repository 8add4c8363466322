// https://kysely.dev/docs/examples/transactions/simple-transaction
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { DATABASE_URL, POOL, serve } from './serve.ts'

interface Tables {
  tasks: {
    user_id: string
    id: number
    title: string
    description: string | null
    completed: boolean
    priority: string | null
    due_at: Date | null
    tags: string[]
    created_at: Date
    updated_at: Date
  }
}

pg.types.setTypeParser(pg.types.builtins.INT8, Number)
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: POOL })
const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })

await serve((user, limit) =>
  db.transaction().execute(async (trx) => {
    await sql`select set_config('app.user_id', ${user}, true), set_config('role', 'taskward_user', true)`.execute(
      trx,
    )
    return trx
      .selectFrom('tasks')
      .selectAll()
      .select('due_at as due_date')
      .where('user_id', '=', user)
      .orderBy('id', 'desc')
      .limit(limit)
      .execute()
  }),
)
