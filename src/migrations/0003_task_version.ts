import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<any>): Promise<void> {
  // Whoever waits for the table holds up everyone behind: rather fail, and migrate again.
  await sql`set local lock_timeout = '5s'`.execute(db)
  // Rewrites no row, however many there are: PostgreSQL keeps the default of those that were there before.
  await sql`alter table tasks add column version bigint not null default 1`.execute(db)
}
