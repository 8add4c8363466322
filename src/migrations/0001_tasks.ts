import { type Kysely, sql } from 'kysely'
import { protect } from '../tables.ts'

export async function up(db: Kysely<any>): Promise<void> {
  // The key starts with user_id: one index serves list, look-up and update, a user's rows lie together, and user_id
  // can be the shard key of a distributed PostgreSQL. No foreign key: the user may live in Better Auth's database.
  await sql`
    create table tasks (
      user_id text collate "C" not null check (char_length(user_id) between 1 and 255),
      id bigint generated always as identity (maxvalue ${sql.lit(Number.MAX_SAFE_INTEGER)}),
      title text not null check (char_length(title) between 1 and 255),
      description text check (char_length(description) <= 1000),
      completed boolean not null default false,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (user_id, id)
    )`.execute(db)
  await protect(db, 'tasks')
}
