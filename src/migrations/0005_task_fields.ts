import { type Kysely, sql } from 'kysely'
import { patiently } from './patiently.ts'

export async function up(db: Kysely<any>): Promise<void> {
  // What search does: PostgreSQL refuses it unless the encoding of the database is UTF8.
  await sql`select normalize('', nfkc)`.execute(db)
  // In this order they are sorted.
  await sql`create type task_priority as enum ('low', 'medium', 'high')`.execute(db)
  // Reads and rewrites no row, however many there are: the defaults are constant, and the check is for new rows. In two
  // statements, since Citus takes a constraint only by itself.
  await patiently(db, async () => {
    await sql`
      alter table tasks
        add column priority task_priority,
        add column due_at timestamptz,
        add column tags text[] not null default '{}'`.execute(db)
    await sql`
      alter table tasks add constraint tasks_tags_check check (cardinality(tags) <= 20) not valid`.execute(db)
  })
}
