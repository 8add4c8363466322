// https://github.com/porsager/postgres#transactions: queries returned as an array are sent at once.
import postgres from 'postgres'
import { DATABASE_URL, POOL, serve } from './serve.ts'

const sql = postgres(DATABASE_URL, {
  max: POOL,
  types: { int8: { to: 20, from: [20], parse: Number, serialize: String } },
})

await serve(async (user, limit) => {
  const [, tasks] = await sql.begin((sql) => [
    sql`select set_config('app.user_id', ${user}, true), set_config('role', 'taskward_user', true)`,
    sql`select user_id, id, title, description, completed, priority, due_at, tags, due_at as due_date, created_at, updated_at
      from tasks where user_id = ${user} order by id desc limit ${limit}`,
  ])
  return tasks
})
