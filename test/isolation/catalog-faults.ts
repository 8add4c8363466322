// What can be wrong with a catalog, so that a wall is open although every table has its policy.

export interface CatalogMutant {
  /** Words of the sentence that must name it. */
  found: string
  /** What somebody does. */
  sql: string
  /** What repairs it, where the repair is no SQL but a decision. */
  decision?: string
  /** Concerns roles, which belong to the whole cluster: to be done in a transaction that is rolled back. */
  roles?: true
}

export const CATALOG_MUTANTS: Record<string, CatalogMutant> = {
  'protect() was forgotten': {
    found: 'Row-level security is not enabled and forced on tasks',
    sql: 'drop policy own_rows on tasks; alter table tasks no force row level security, disable row level security',
  },
  'not forced': {
    found: 'Row-level security is not enabled and forced on tasks',
    sql: 'alter table tasks no force row level security',
  },
  disabled: {
    found: 'Row-level security is not enabled and forced on tasks',
    sql: 'alter table tasks disable row level security',
  },
  'no policy': {
    found: 'Table tasks has no policy own_rows as declared',
    sql: 'drop policy own_rows on tasks',
  },
  'a second, permissive policy': {
    found: 'Policy support on tasks is not declared',
    sql: 'create policy support on tasks using (true)',
  },
  'a second, restrictive policy': {
    found: 'Policy less on tasks is not declared',
    sql: 'create policy less on tasks as restrictive using (completed)',
  },
  'a policy of another expression': {
    found: 'Table tasks has no policy own_rows as declared',
    sql: `alter policy own_rows on tasks using (user_id = current_setting('app.user_id', true) or completed)`,
  },
  'a policy that checks nothing that is written': {
    found: 'Table tasks has no policy own_rows as declared',
    sql: 'alter policy own_rows on tasks with check (true)',
  },
  'a policy by another setting': {
    found: 'Table tasks has no policy own_rows as declared',
    sql: `drop policy own_rows on tasks; create policy own_rows on tasks
      using (user_id = current_setting('app.user', true)) with check (user_id = current_setting('app.user', true))`,
  },
  'a policy for one command': {
    found: 'Table tasks has no policy own_rows as declared',
    sql: `drop policy own_rows on tasks;
      create policy own_rows on tasks for select using (user_id = current_setting('app.user_id', true))`,
  },
  'a policy for another role': {
    found: 'Table tasks has no policy own_rows as declared',
    sql: 'alter policy own_rows on tasks to taskward_service',
  },
  'a view of the owner': {
    found: 'Role taskward_user may select in task_titles',
    sql: 'create view task_titles as select user_id as whose, title from tasks; grant select on task_titles to taskward_user',
  },
  'a view for everybody': {
    found: 'Role taskward_service may select in task_titles',
    sql: 'create view task_titles as select title from tasks; grant select on task_titles to public',
  },
  'a materialized view': {
    found: 'Role taskward_user may select in task_copy',
    sql: 'create materialized view task_copy as select title from tasks; grant select on task_copy to taskward_user',
  },
  'a child table': {
    found: 'Role taskward_user may select in tasks_1',
    sql: 'create table tasks_1 () inherits (tasks); grant select on tasks_1 to taskward_user',
    decision: 'drop table tasks_1',
  },
  'a definer function': {
    found: 'may call all_tasks(), which runs with the rights of another role',
    sql: `create function all_tasks() returns setof tasks language sql security definer as 'select * from tasks'`,
  },
  'a right on a column of a table of nobody': {
    found: 'Role taskward_user may select in accounts',
    sql: 'grant select (email) on accounts to taskward_user',
  },
  "a right on the other role's table": {
    found: 'Role taskward_service may select in tasks',
    sql: 'grant select on tasks to taskward_service',
  },
  'a right to empty the table': {
    found: 'Role taskward_user may truncate in tasks',
    sql: 'grant truncate on tasks to taskward_user',
  },
  'a table in another schema': {
    found: 'Role taskward_user may select in archive.tasks',
    sql: `create schema archive; create table archive.tasks as select * from tasks;
      grant usage on schema archive to taskward_user; grant select on archive.tasks to taskward_user`,
  },
  'a right to read a sequence': {
    found: 'Role taskward_user may use the sequence tasks_id_seq (select)',
    sql: 'grant select on sequence tasks_id_seq to taskward_user',
  },
  'a right to use a sequence': {
    found: 'Role taskward_service may use the sequence tasks_id_seq (update, usage)',
    sql: 'grant usage, update on sequence tasks_id_seq to public',
  },
  'a right to create': {
    found: 'Role taskward_user may create tables and functions in the schema public',
    sql: 'grant create on schema public to taskward_user',
  },
  'a right of all to create': {
    found: 'Role taskward_service may create tables and functions in the schema public',
    sql: 'grant create on schema public to public',
  },
  'a right to create schemas': {
    found: 'Role taskward_user may create schemas in the database',
    sql: onDatabase('grant create on database %I to taskward_user'),
  },
  'a right of all to create schemas': {
    found: 'Role taskward_service may create schemas in the database',
    sql: onDatabase('grant create on database %I to public'),
  },
  'a rule': {
    found: 'Rule keep on tasks changes what statements do',
    sql: 'create rule keep as on delete to tasks do instead nothing',
  },
  'a table of the role': {
    found: 'Role taskward_user owns the table public.tasks',
    sql: 'alter table tasks owner to taskward_user',
  },
  'a sequence of the role': {
    found: 'Role taskward_user owns the sequence public.numbers',
    sql: 'create sequence numbers; alter sequence numbers owner to taskward_user',
  },
  'a function of the role': {
    found: 'Role taskward_service owns the function public.noon()',
    sql: `create function noon() returns int language sql as 'select 12'; alter function noon() owner to taskward_service`,
  },
  'the schema is of the role': {
    found: 'Role taskward_user owns the schema public',
    sql: 'alter schema public owner to taskward_user',
  },
  'the database is of the role': {
    found: 'Role taskward_service owns the database',
    sql: onDatabase('alter database %I owner to taskward_service'),
  },
  'a table with the owner column that is not declared': {
    found: 'Table memos has the column user_id, but is not declared',
    sql: 'create table memos (user_id text, body text)',
    decision: 'drop table memos',
  },
  'a unique index without the owner': {
    found: 'The unique index one_title of tasks lacks an owner column',
    sql: 'create unique index one_title on tasks (title)',
    decision: 'drop index one_title',
  },
  'a foreign key without the owner': {
    found: 'The foreign key of_task of remarks refers to tasks without the owner columns',
    sql: `alter table tasks add constraint by_id unique (id);
      create table remarks (task bigint constraint of_task references tasks (id))`,
    decision: 'drop table remarks; alter table tasks drop constraint by_id',
  },
  'a table that is gone': {
    found: 'Table refresh_tokens is declared, but is not there',
    sql: 'alter table refresh_tokens rename to gone',
    decision: 'alter table gone rename to refresh_tokens',
  },
  'a role that bypasses policies': {
    found: 'Role taskward_user is a superuser or bypasses row-level security',
    sql: 'alter role taskward_user bypassrls',
    roles: true,
  },
  'a role that is a superuser': {
    found: 'Role taskward_service is a superuser or bypasses row-level security',
    sql: 'alter role taskward_service superuser',
    roles: true,
  },
  'a role that is a member of another': {
    found: 'Role taskward_user is a member of taskward_service',
    sql: 'grant taskward_service to taskward_user',
    roles: true,
  },
  'a role that may make roles': {
    found: 'Role taskward_user may make roles and join others',
    sql: 'alter role taskward_user createrole',
    roles: true,
  },
  'a role that may replicate': {
    found: 'Role taskward_service may copy the whole database',
    sql: 'alter role taskward_service replication',
    roles: true,
  },
}

/** The statement, with the name of the database that it runs in. */
function onDatabase(statement: string) {
  return `do $$ begin execute format('${statement}', current_database()); end $$`
}
