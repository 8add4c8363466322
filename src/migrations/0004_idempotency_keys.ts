import { type Kysely, sql } from 'kysely'
import { protect } from '../tables.ts'

export async function up(db: Kysely<any>): Promise<void> {
  // `made` has no foreign key: a task may be deleted while its key is kept.
  await sql`
    create table idempotency_keys (
      user_id text collate "C" not null,
      key text collate "C" not null,
      request text collate "C" not null,
      made bigint not null,
      created_at timestamptz not null default now(),
      primary key (user_id, key)
    )`.execute(db)
  await sql`create index on idempotency_keys (user_id, created_at)`.execute(db)
  await protect(db, 'idempotency_keys')
}
