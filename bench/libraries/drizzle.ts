// https://orm.drizzle.team/docs/rls#using-with-supabase: settings and role first, in a transaction.
import { desc, eq, getTableColumns, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { bigint, boolean, pgTable, text, timestamp } from 'drizzle-orm/pg-core'
import pg from 'pg'
import { DATABASE_URL, POOL, serve } from './serve.ts'

const tasks = pgTable('tasks', {
  user_id: text().notNull(),
  id: bigint({ mode: 'number' }).notNull(),
  title: text().notNull(),
  description: text(),
  completed: boolean().notNull(),
  priority: text(),
  due_at: timestamp({ withTimezone: true }),
  tags: text().array().notNull(),
  created_at: timestamp({ withTimezone: true }).notNull(),
  updated_at: timestamp({ withTimezone: true }).notNull(),
})

const db = drizzle(new pg.Pool({ connectionString: DATABASE_URL, max: POOL }))

await serve((user, limit) =>
  db.transaction(async (tx) => {
    await tx.execute(
      sql`select set_config('app.user_id', ${user}, true), set_config('role', 'taskward_user', true)`,
    )
    return tx
      .select({ ...getTableColumns(tasks), due_date: tasks.due_at })
      .from(tasks)
      .where(eq(tasks.user_id, user))
      .orderBy(desc(tasks.id))
      .limit(limit)
  }),
)
