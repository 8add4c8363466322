import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<any>): Promise<void> {
  await sql`
    create table accounts (
      id text collate "C" primary key,
      email text collate "C" not null unique check (email = lower(email)),
      name text not null,
      password text not null,
      active boolean not null default true,
      created_at timestamptz not null default now()
    )`.execute(db)
  await sql`
    create table refresh_tokens (
      hash text collate "C" primary key,
      family uuid not null,
      account_id text collate "C" not null references accounts on delete cascade,
      expires_at timestamptz not null,
      spent_at timestamptz
    )`.execute(db)
  await sql`create index on refresh_tokens (family)`.execute(db)
  await sql`create index on refresh_tokens (account_id)`.execute(db)
  await sql`create index on refresh_tokens (expires_at)`.execute(db)
}
