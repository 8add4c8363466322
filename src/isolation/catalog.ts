import { type Kysely, type RawBuilder, sql } from 'kysely'
import { REACH, ROLES } from './catalog-roles.ts'
import { policyExpression } from './row-level-security.ts'

/** What the catalog is compared with. */
export interface Expected {
  /** The owner columns. */
  readonly columns: readonly string[]
  /** Prefix of the settings. */
  readonly prefix: string
  readonly owned: readonly string[]
  readonly shared: readonly string[]
  /** Tables that have an owner column and belong to another service. */
  readonly foreign: readonly string[]
  /** Unique and foreign keys that lack the owner columns on purpose. */
  readonly accepted: readonly string[]
  readonly roles: { readonly owned: string; readonly shared: string }
}

/** A difference between the catalog and the declaration. */
export interface CatalogFault {
  /**
   * `grant`: statements fail, because a role lacks a right. `isolation`: a wall is open, or may be. `undeclared`: so it
   * is, unless it is a table of a newer declaration, or a sequence for one. `unknown`: it could not be compared.
   */
  kind: 'grant' | 'isolation' | 'undeclared' | 'unknown'
  /** What is wrong, in a sentence. */
  fault: string
  /** The SQL that repairs it, or what to do instead. */
  repair: string
}

/**
 * Compares PostgreSQL's catalog with the declaration: policies, grants, roles, and everything else that the roles could
 * reach. That a table has a policy proves little: another policy, a view or a grant would open it.
 *
 * @param rls whether statements run under the roles; if not, their rights do not matter
 */
export async function compareCatalog(
  db: Kysely<any>,
  expected: Expected,
  rls: boolean,
): Promise<CatalogFault[]> {
  const checks = [...TABLES, ...NAMES, ...(rls ? [...ROLES, ...REACH] : [])]
  const { rows } = await comparison(expected, checks).execute(db)
  return rows
}

/** The query that compares what must hold on a worker of Citus, where the owned tables are shards. */
export const shardComparison = (expected: Expected, rls: boolean): RawBuilder<CatalogFault> =>
  comparison(expected, [...TABLES, ...(rls ? ROLES : [])])

function comparison(expected: Expected, checks: readonly Check[]): RawBuilder<CatalogFault> {
  const { owned, shared, roles } = expected
  const parts = checks.map((check) => check(expected))
  return sql<CatalogFault>`
    with declared as (
      select name, is_owned, to_regclass(quote_ident(name)) as oid from (
        select unnest(${owned}::text[]) as name, true as is_owned
        union all select unnest(${shared}::text[]), false
      ) as t
    ), role as (
      select name, is_owned, to_regrole(quote_ident(name))::oid as oid
      from (values (${roles.owned}::text, true), (${roles.shared}::text, false)) as t (name, is_owned)
    ), other_namespace as (
      select oid from pg_namespace
      where nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and nspname !~ '^pg_(temp|toast_temp)_'
    ), of_extension as (
      select classid, objid from pg_depend where deptype = 'e'
    )
    ${sql.join(parts, sql` union `)} order by kind, fault, repair`
}

/** Part of the query that compares: selects the kind, fault and repair of each difference. */
export type Check = (expected: Expected) => RawBuilder<unknown>

const TABLES: Check[] = [
  () => sql`
    select 'isolation' as kind, format('Table %s is declared, but is not there.', name) as fault,
      'Run the migration that makes it.' as repair
    from declared where oid is null`,

  () => sql`
    select 'isolation', format('Row-level security is not enabled and forced on %s.', name),
      format('alter table %I enable row level security, force row level security;', name)
    from declared join pg_class using (oid)
    where is_owned and not (relrowsecurity and relforcerowsecurity)`,

  ({ columns, prefix }) => sql`
    select 'isolation', format('Table %s has no policy own_rows as declared, for all commands and roles.', name),
      format('drop policy if exists own_rows on %1$I; create policy own_rows on %1$I using (%2$s) with check (%2$s);',
        name, ${policyExpression(prefix, columns)}::text)
    from declared where is_owned and declared.oid is not null and not exists (
      select from pg_policy where polrelid = declared.oid and polname = 'own_rows' and polcmd = '*' and polpermissive
        and polroles = '{0}'
        and pg_get_expr(polqual, polrelid) = ${policyText(columns, prefix)}
        and pg_get_expr(polwithcheck, polrelid) = ${policyText(columns, prefix)})`,

  () => sql`
    select 'isolation', format('Policy %s on %s is not declared, and may show other rows.', polname, name),
      format('drop policy %I on %I;', polname, name)
    from declared as d join pg_policy on polrelid = d.oid where is_owned and polname <> 'own_rows'`,

  () => sql`
    select 'isolation', format('Rule %s on %s changes what statements do.', rulename, name),
      format('drop rule %I on %I;', rulename, name)
    from declared as d join pg_rewrite on ev_class = d.oid`,

  () => sql`
    select 'isolation', format('Table %s inherits from %s, which shows its rows.', name, inhparent::regclass),
      format('alter table %I no inherit %s;', name, inhparent::regclass)
    from declared as d join pg_inherits on inhrelid = d.oid
    where is_owned and not (select relispartition from pg_class as c where c.oid = d.oid)`,

  () => sql`
    select 'isolation',
      format('Policy %s on %s uses %s, which is not of PostgreSQL.', polname, name, pg_describe_object(refclassid, refobjid, 0)),
      'Drop that, and make the policy again with protect().'
    from declared as d join pg_policy as p on polrelid = d.oid
    join pg_depend on classid = 'pg_policy'::regclass and objid = p.oid
    where is_owned and refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_cast'::regclass)`,

  ({ columns }) => sql`
    select 'isolation', format('To the collation of %s.%s, two owners may be equal.', name, attname),
      format('alter table %I alter %I type text collate "C";', name, attname)
    from declared as d join pg_attribute on attrelid = d.oid join pg_collation as c on c.oid = attcollation
    where is_owned and attname = any(${columns}::text[]) and not collisdeterministic`,
]

// What shards have under other names, or not at all.
const NAMES: Check[] = [
  ({ columns, foreign }) => sql`
    select 'undeclared', format('Table %s has the column %s, but is not declared.', relname, attname),
      'Declare it as a table of users, or as one of another service.'
    from pg_class as c join pg_attribute on attrelid = c.oid
    where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'f') and not relispartition
      and attname = any(${columns}::text[]) and not attisdropped
      and relname <> all(${foreign}::text[]) and c.oid not in (select oid from declared where oid is not null)
      and (c.tableoid, c.oid) not in (table of_extension)`,

  ({ columns, accepted }) => sql`
    select 'isolation',
      format('The unique index %s of %s lacks an owner column: it tells which values other users have.', i.relname, name),
      format('Make it unique together with %s, or declare it as accepted.', ${columns.join(', ')}::text)
    from declared as d join pg_index as x on indrelid = d.oid join pg_class as i on i.oid = indexrelid
    where is_owned and (indisunique or indisexclusion) and i.relname <> all(${accepted}::text[])
      and ${lacksColumn(columns, sql`d.oid`, sql`(x.indkey::int2[])[0:indnkeyatts - 1]`)}`,

  ({ columns, accepted }) => sql`
    select 'isolation',
      format('The foreign key %s of %s refers to %s without the owner columns: it ties rows of two users together.',
        conname, conrelid::regclass, name),
      format('Make it refer to (%s, …), or declare it as accepted.', ${columns.join(', ')}::text)
    from declared as d join pg_constraint on confrelid = d.oid
    where is_owned and contype = 'f' and conparentid = 0 and conname <> all(${accepted}::text[])
      and exists (select from unnest(${columns}::text[]) as own where not exists (
        select from unnest(conkey, confkey) as pair (here, there)
        join pg_attribute as a on a.attrelid = conrelid and a.attnum = here and a.attname = own
        join pg_attribute as b on b.attrelid = confrelid and b.attnum = there and b.attname = own))`,
]

/** Whether the key of a relation lacks an owner column. */
const lacksColumn = (
  columns: readonly string[],
  relation: RawBuilder<unknown>,
  key: RawBuilder<unknown>,
) => sql`exists (
  select from unnest(${columns}::text[]) as own where not exists (
    select from pg_attribute where attrelid = ${relation} and attname = own and attnum = any(${key})))`

/** How PostgreSQL prints the declared policy of `declared.oid`: with a cast where the column is a varchar. */
const policyText = (columns: readonly string[], prefix: string) => sql`(
  select case when count(*) = 1 then min(part) else '(' || string_agg(part, ' AND ' order by nr) || ')' end
  from (
    select nr, format('(%s = current_setting(%L::text, true))',
      case format_type(atttypid, null) when 'text' then quote_ident(own) else format('(%I)::text', own) end,
      ${`${prefix}.`}::text || own) as part
    from unnest(${columns}::text[]) with ordinality as o (own, nr)
    join pg_attribute on attrelid = declared.oid and attname = own
  ) as parts)`
