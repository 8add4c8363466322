// What the roles that statements run under must, and must not, be able to do.
import { sql } from 'kysely'
import type { Check } from './catalog.ts'

const RIGHTS = sql`array['select', 'insert', 'update', 'delete']`

// A superuser has every right, and none that could be revoked.
const isSuperuser = sql`(select rolsuper from pg_roles where pg_roles.oid = role.oid)`

/** What holds on every server: who the roles are, and that they may do what they must. */
export const ROLES: Check[] = [
  () => sql`
    select 'grant', format('Role %s is not there.', name), format('create role %I nologin;', name)
    from role where oid is null`,

  () => sql`
    select 'grant', format('Role %s may not log in: Citus calls its workers as that role.', name),
      format('alter role %I login;', name)
    from role join pg_roles using (oid)
    where is_owned and not rolcanlogin and exists (select from pg_extension where extname = 'citus')`,

  () => sql`
    select 'grant', format('Role %s may not use the schema of its tables.', name),
      format('grant usage on schema %I to %I;', current_schema(), name)
    from role where not coalesce(has_schema_privilege(oid, current_schema(), 'usage'), false)`,

  () => sql`
    select 'grant', format('Role %s may not %s in table %s.', role.name, string_agg(verb, ', '), d.name),
      format('grant select, insert, update, delete on %I to %I;', d.name, role.name)
    from role join declared as d using (is_owned), unnest(${RIGHTS}) as verb
    where d.oid is not null and not coalesce(has_table_privilege(role.oid, d.oid, verb), false)
    group by role.name, d.name`,

  () => sql`
    select 'isolation', format('Role %s is a superuser or bypasses row-level security.', name),
      format('alter role %I nosuperuser nobypassrls;', name)
    from role join pg_roles using (oid) where rolsuper or rolbypassrls`,

  () => sql`
    select 'isolation', format('Role %s is a member of %s, and has its rights.', name, roleid::regrole),
      format('revoke %s from %I;', roleid::regrole, name)
    from role join pg_auth_members on member = role.oid`,

  () => sql`
    select 'isolation', format('Role %s may %s.', name, deed), format('alter role %I no%s;', name, attribute)
    from role join pg_roles using (oid) cross join lateral (values
      ('createrole', rolcreaterole, 'make roles and join others'),
      ('replication', rolreplication, 'copy the whole database as a replica')) as t (attribute, has, deed)
    where has`,

  // A sequence that belongs to a column always has the owner of its table.
  () => sql`
    select 'isolation', format('Role %s owns the %s, and may do anything with it.', role.name,
        concat_ws(' ', type, case when type <> 'database' then identity end)),
      format('alter %s %s owner to %I;', type, identity, current_user)
    from role join (
      select tableoid, oid, relowner from pg_class as c
      where relkind in ('r', 'p', 'v', 'm', 'f') or relkind = 'S' and not exists (
        select from pg_depend where classid = c.tableoid and objid = c.oid and deptype in ('a', 'i'))
      union all select tableoid, oid, proowner from pg_proc
      union all select tableoid, oid, nspowner from pg_namespace
      union all select tableoid, oid, datdba from pg_database where datname = current_database()
    ) as owned (class, id, owner) on owner = role.oid
    cross join pg_identify_object(class, id, 0)`,

  () => sql`
    select 'isolation', format('Role %s may call %s, which runs with the rights of another role.', name, p.oid::regprocedure),
      format('revoke execute on function %s from %I, public;', p.oid::regprocedure, name)
    from role, pg_proc as p
    where (prosecdef or array_to_string(proconfig, ' ') ~* '(^| )(role|session_authorization|row_security)=')
      and prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
      and pronamespace in (select oid from other_namespace) and (p.tableoid, p.oid) not in (table of_extension)
      and not ${isSuperuser}
      and has_function_privilege(role.oid, p.oid, 'execute')`,
]

// A view, or a part of a table, may show the rows of declared ones.
const kindOfReached = sql`case when relkind in ('r', 'p') and relnamespace = current_schema()::regnamespace
  and c.oid not in (select oid from declared where oid is not null)
  and not exists (select from pg_inherits where inhrelid = c.oid) then 'undeclared' else 'isolation' end`

/** What else the roles may do, which should be nothing. What an owner may do is said once, of the owner. */
export const REACH: Check[] = [
  // That of an identity column needs no right.
  () => sql`
    select 'grant', format('Role %s may not use %s, a default of table %s.', role.name, c.oid::regclass, d.name),
      format('grant usage on sequence %s to %I;', c.oid::regclass, role.name)
    from role join declared as d using (is_owned) join pg_attrdef as a on adrelid = d.oid
    join pg_depend on classid = 'pg_attrdef'::regclass and objid = a.oid
    join pg_class as c on c.oid = refobjid and refclassid = 'pg_class'::regclass
    where relkind = 'S' and not coalesce(has_sequence_privilege(role.oid, c.oid, 'usage, update'), false)`,

  // Everything else that they reach: the other role's tables, views (which run with their owner's rights), partitions.
  () => sql`
    select ${kindOfReached},
      format('Role %s may %s in %s, which is not declared for it.', name, string_agg(verb, ', '), c.oid::regclass),
      format('revoke %s on %s from %I, public;', string_agg(verb, ', '), c.oid::regclass, name)
    from role, pg_class as c, unnest(${RIGHTS} || array['truncate', 'references', 'trigger']) as verb
    where relkind in ('r', 'p', 'v', 'm', 'f') and relnamespace in (select oid from other_namespace)
      and (c.tableoid, c.oid) not in (table of_extension) and not ${isSuperuser} and relowner <> role.oid
      and not exists (select from declared as d
        where d.oid = c.oid and d.is_owned = role.is_owned and verb = any(${RIGHTS}))
      and case when verb in ('select', 'insert', 'update', 'references')
        then has_any_column_privilege(role.oid, c.oid, verb) else has_table_privilege(role.oid, c.oid, verb) end
    group by name, c.oid`,

  // One that fills a column of its tables may be used for that, and neither read nor set.
  () => sql`
    select 'undeclared', format('Role %s may use the sequence %s (%s).', name, c.oid::regclass, string_agg(verb, ', ' order by verb)),
      format('revoke %s on sequence %s from %I, public;', string_agg(verb, ', '), c.oid::regclass, name)
    from role, pg_class as c, unnest(array['usage', 'select', 'update']) as verb
    where relnamespace in (select oid from other_namespace) and (c.tableoid, c.oid) not in (table of_extension)
      and not ${isSuperuser} and relowner <> role.oid
      and case relkind when 'S' then has_sequence_privilege(role.oid, c.oid, verb) end
      and not (verb = 'usage' and exists (
        select from declared as d join pg_attrdef as a on adrelid = d.oid
        join pg_depend on classid = 'pg_attrdef'::regclass and objid = a.oid
        where d.is_owned = role.is_owned and refclassid = 'pg_class'::regclass and refobjid = c.oid))
    group by name, c.oid`,

  // Where the login may revoke it: before PostgreSQL 15 all may create in a `public` that only a superuser owns.
  () => sql`
    select 'isolation', format('Role %s may create tables and functions in the schema %s.', name, nspname),
      format('revoke create on schema %I from %I, public;', nspname, name)
    from role, pg_namespace as n
    where n.oid in (select oid from other_namespace) and not ${isSuperuser}
      and has_schema_privilege(role.oid, n.oid, 'create') and pg_has_role(nspowner, 'usage')
      and not pg_has_role(role.oid, nspowner, 'usage')`,

  () => sql`
    select 'isolation', format('Role %s may create schemas in the database.', name),
      format('revoke create on database %I from %I, public;', datname, name)
    from role, pg_database
    where datname = current_database() and not ${isSuperuser}
      and has_database_privilege(role.oid, datname, 'create') and pg_has_role(datdba, 'usage')
      and not pg_has_role(role.oid, datdba, 'usage')`,
]
