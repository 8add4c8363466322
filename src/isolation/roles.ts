import { type Kysely, sql } from 'kysely'
import { compareCatalog, type Expected } from './catalog.ts'
import { isCitus } from './distribute.ts'

/** The login may not make or take a role. The message holds the SQL that an administrator must run. */
export class MissingGrantError extends Error {
  override name = 'MissingGrantError'
}

/**
 * Creates the roles if they are missing, lets the login take them, and grants them their tables. May run any number of
 * times. Superusers and the logins of hosted databases bypass policies; these roles do not.
 *
 * @param login the login of the service; default the one that runs this
 * @throws MissingGrantError if a right is missing
 */
export async function grantRoles(db: Kysely<any>, expected: Expected, login?: string): Promise<void> {
  const { roles, owned, shared } = expected
  const citus = await isCitus(db)
  try {
    await db.transaction().execute(async (trx) => {
      await sql`select pg_advisory_xact_lock(hashtext(${`${roles.owned},${roles.shared}`}))`.execute(trx)
      for (const [role, tables] of [
        [roles.owned, owned],
        [roles.shared, shared],
      ] as const) {
        await sql.raw(makeAndTake(role)).execute(trx)
        if (citus && role === roles.owned) await sql.raw(letIn(role)).execute(trx)
        if (login) await sql`grant ${sql.id(role)} to ${sql.id(login)}`.execute(trx)
        for (const table of tables) {
          await sql`grant select, insert, update, delete on ${sql.table(table)} to ${sql.id(role)}`.execute(
            trx,
          )
        }
      }
      await sql.raw(REVOKE_MAKING).execute(trx)
    })
  } catch (error) {
    if ((error as { code?: string }).code !== '42501') throw error
    const missing = await missingGrants(db, expected)
    throw new MissingGrantError(
      `The login may not make or take the roles that statements run under (${(error as Error).message}). ` +
        `An administrator can allow it with: ${missing.join(' ')}`,
      { cause: error },
    )
  }
}

/** The SQL that must still be run before statements work under their roles; empty if all is well. */
export async function missingGrants(db: Kysely<any>, expected: Expected): Promise<string[]> {
  const { rows } = await sql<{ login: string }>`select quote_ident(current_user) as login`.execute(db)
  const grants = (await compareCatalog(db, expected, true)).filter(({ kind }) => kind === 'grant')
  const missing = grants.map(({ repair }) => repair)
  for (const role of Object.values(expected.roles)) {
    if (!(await mayTake(db, role))) missing.push(`grant ${role} to ${rows[0]?.login};`)
  }
  return missing.toSorted() // roles are created first
}

/** Tested by doing it: since PostgreSQL 16 membership does not imply SET ROLE (`with set false`). */
async function mayTake(db: Kysely<any>, role: string): Promise<boolean> {
  try {
    await db.transaction().execute((trx) => sql`select set_config('role', ${role}, true)`.execute(trx))
    return true
  } catch (error) {
    if (['42501', '22023'].includes((error as { code: string }).code)) return false // not permitted, no such role
    throw error
  }
}

// Roles belong to the whole cluster, so another database may be creating the same one right now.
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

// Citus calls its workers as the role that a statement runs under.
const letIn = (role: string) => `do $$
begin
  if not (select rolcanlogin from pg_roles where rolname = '${role}') then
    alter role ${role} login;
  end if;
end $$`

// What everybody may make: a temporary table of one user would outlive their transaction on a shared connection, and
// before PostgreSQL 15 all may create in `public`. Without the right to revoke the first, `pg_temp` is last in the search
// path all the same; the second is then found by compareCatalog().
const REVOKE_MAKING = `do $$
begin
  if has_database_privilege('public', current_database(), 'temporary')
    and pg_has_role((select datdba from pg_database where datname = current_database()), 'usage') then
    execute format('revoke temporary on database %I from public', current_database());
  end if;
  if has_schema_privilege('public', current_schema(), 'create')
    and pg_has_role((select nspowner from pg_namespace where nspname = current_schema()), 'usage') then
    execute format('revoke create on schema %I from public', current_schema());
  end if;
end $$`
