import { type Kysely, type RawBuilder, sql } from 'kysely'

/**
 * What statements run under, whatever the login may do: roles without a login, and without any right but on their
 * tables. USER_ROLE has the user-owned tables, SERVICE_ROLE those that belong to nobody.
 */
export const USER_ROLE = 'taskward_user'
export const SERVICE_ROLE = 'taskward_service'
export type Role = typeof USER_ROLE | typeof SERVICE_ROLE
/** The tables of each role. */
export type RoleTables = Record<Role, readonly string[]>

/** The login may not make or take a role. The message holds the SQL that an administrator must run. */
export class MissingGrantError extends Error {
  override name = 'MissingGrantError'
}

/**
 * The third wall, for the migration that makes a user-owned table: PostgreSQL itself shows and takes only rows whose
 * `user_id` is the setting `app.user_id`. Forced, so that it holds for the owner too; without the setting, no row.
 *
 * @param table the name of a table that has a column `user_id`
 */
export async function protect(db: Kysely<any>, table: string): Promise<void> {
  const name = sql.table(table)
  const own = sql`user_id = current_setting('app.user_id', true)`
  await sql`alter table ${name} enable row level security`.execute(db)
  await sql`alter table ${name} force row level security`.execute(db)
  await sql`create policy own_rows on ${name} using (${own}) with check (${own})`.execute(db)
}

/**
 * Makes the roles where there are none, lets the login take them, and grants them their tables. May run any number of
 * times. Superusers and the logins of hosted databases bypass policies; these roles do not.
 *
 * @throws MissingGrantError where the login lacks a right
 */
export async function grantRoles(db: Kysely<any>, roles: RoleTables): Promise<void> {
  try {
    await db.transaction().execute(async (trx) => {
      await sql`select pg_advisory_xact_lock(hashtext(${USER_ROLE}))`.execute(trx)
      for (const [role, tables] of Object.entries(roles)) {
        await sql.raw(makeAndTake(role)).execute(trx)
        for (const table of tables) {
          await sql`grant select, insert, update, delete on ${sql.table(table)} to ${sql.id(role)}`.execute(
            trx,
          )
        }
      }
    })
  } catch (error) {
    if ((error as { code?: string }).code !== '42501') throw error
    const missing = await missingGrants(db, roles)
    throw new MissingGrantError(
      `The login may not make or take the roles that statements run under (${(error as Error).message}). ` +
        `An administrator can allow it with: ${missing.join(' ')} Or set DATABASE_RLS=off to go without.`,
      { cause: error },
    )
  }
}

/** The SQL that is still to be run before statements work under their roles. None: all is well. */
export async function missingGrants(db: Kysely<any>, roles: RoleTables): Promise<string[]> {
  const { rows } = await sql<{ login: string; schema: string }>`
    select quote_ident(current_user) as login, quote_ident(current_schema()) as schema`.execute(db)
  const [{ login, schema } = { login: '', schema: '' }] = rows
  const missing: string[] = []
  for (const [role, tables] of Object.entries(roles)) {
    const exists = await holds(sql`to_regrole(${role}) is not null`)
    if (!exists) missing.push(`create role ${role} nologin;`)
    if (!exists || !(await mayTake(db, role))) missing.push(`grant ${role} to ${login};`)
    if (!exists || !(await holds(sql`has_schema_privilege(${role}, current_schema(), 'usage')`))) {
      missing.push(`grant usage on schema ${schema} to ${role};`)
    }
    for (const table of tables) {
      const rights = sql`(select bool_and(has_table_privilege(${role}, to_regclass(${table}), r))
        from unnest(array['select', 'insert', 'update', 'delete']) as r)`
      if (!exists || !(await holds(rights))) {
        missing.push(`grant select, insert, update, delete on ${table} to ${role};`)
      }
    }
  }
  return missing

  async function holds(condition: RawBuilder<unknown>): Promise<boolean> {
    const { rows } = await sql<{ holds: boolean }>`select ${condition} as holds`.execute(db)
    return rows[0]?.holds === true
  }
}

/** The user-owned tables that PostgreSQL does not protect: row-level security is not forced, or lacks its policy. */
export async function unprotectedTables(db: Kysely<any>, tables: readonly string[]): Promise<string[]> {
  const { rows } = await sql<{ table: string }>`
    select t as table from unnest(${tables}::text[]) as t
    left join pg_class c on c.oid = to_regclass(t)
    where not coalesce(c.relrowsecurity and c.relforcerowsecurity, false)
      or not exists (select from pg_policy p where p.polrelid = c.oid)`.execute(db)
  return rows.map(({ table }) => table)
}

/** Tried, because since PostgreSQL 16 being a member of a role does not say that one may take it. */
async function mayTake(db: Kysely<any>, role: string): Promise<boolean> {
  try {
    await db.transaction().execute((trx) => sql`select set_config('role', ${role}, true)`.execute(trx))
    return true
  } catch (error) {
    if ((error as { code?: string }).code === '42501') return false
    throw error
  }
}

// Roles belong to the whole cluster, so another database may be making the same one right now.
const makeAndTake = (role: string) => `do $$
begin
  begin
    if not exists (select from pg_roles where rolname = '${role}') then
      create role ${role} nologin;
    end if;
  exception when duplicate_object or unique_violation then null;
  end;
  begin
    set local role ${role};
    reset role;
  exception when insufficient_privilege then
    execute format('grant ${role} to %I', current_user);
  end;
  if not has_schema_privilege('${role}', current_schema(), 'usage') then
    execute format('grant usage on schema %I to ${role}', current_schema());
  end if;
end $$`
