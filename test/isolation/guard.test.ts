import type { Compilable } from 'kysely'
import t from 'tap'
import { type Declaration, prove, UnscopedStatementError } from '../../src/isolation/index.ts'
import { ACCEPTED, me, REFUSED } from './builders.ts'
import { Lab, statementOf } from './lab.ts'
import { DECLARATION, HONEST, HOSTILE, LEAKING, SCHEMA } from './statements.ts'

const OWNER: readonly (string | undefined)[] = ['user_id']

function refusal(sql: string, declaration: Declaration = DECLARATION, parameters = OWNER) {
  try {
    prove(sql, declaration, parameters, 'owner')
    return undefined
  } catch (error) {
    if (error instanceof UnscopedStatementError) return error
    throw error
  }
}

function refusalOf(query: Compilable<unknown>) {
  const { sql, parameters } = query.compile()
  const places = parameters.map((parameter) => (parameter === me ? 'user_id' : undefined))
  return { sql, error: refusal(sql, { ...DECLARATION, owned: [...DECLARATION.owned, 'app.tasks'] }, places) }
}

t.test('statements on a database without row-level security', async (t) => {
  const lab = await Lab.open(t, SCHEMA, DECLARATION)

  await t.test('accepts statements that stay with their owner, and they do', async (t) => {
    for (const line of HONEST) {
      const { sql, values } = statementOf(line)
      t.equal(refusal(sql)?.message, undefined, line)
      t.same(await lab.leaksOf(sql, values, 'alice'), { error: undefined, leaks: [] }, line)
    }
  })

  await t.test('refuses statements that leak, and they do', async (t) => {
    for (const line of LEAKING) {
      const { sql, values } = statementOf(line)
      t.ok(refusal(sql), line)
      t.ok((await lab.leaksOf(sql, values, 'alice')).leaks.length > 0, line)
    }
  })
})

t.test('refuses hostile statements', async (t) => {
  for (const line of HOSTILE) t.ok(refusal(statementOf(line).sql), line)
})

t.test('accepts bound builders', async (t) => {
  for (const [title, statement] of Object.entries(ACCEPTED)) {
    const { sql, error } = refusalOf(statement())
    t.equal(error?.message, undefined, `${title}: ${sql}`)
  }
})

t.test('refuses unbound builders', async (t) => {
  for (const [title, statement] of Object.entries(REFUSED)) {
    const { sql, error } = refusalOf(statement())
    t.ok(error, `${title}: ${sql}`)
  }
})

t.test('says which part is refused, why, and how to write it', async (t) => {
  const cases: [string, string, string][] = [
    [
      'select n.id from tasks t left join notes n on n.task_id = t.id where t.user_id = $1',
      'notes',
      'n is not bound to its owner: add "n.user_id = $1" to the WHERE of the query that names it',
    ],
    [
      'insert into tasks (id, user_id, title) values (1, $1, $2) on conflict (id) do update set title = $2',
      'tasks',
      'tasks is not bound to its owner: add "tasks.user_id = $1" to the WHERE of on conflict do update',
    ],
    [
      'insert into tasks (id, title) values (1, $1)',
      'tasks',
      'an insert into tasks does not write its owner: name its columns, and give user_id $1 in each row',
    ],
    [
      "update tasks set user_id = 'bob' where user_id = $1",
      'tasks',
      'user_id says who owns a row of tasks, and no statement may change it',
    ],
    [
      'select pg_sleep(1)',
      '(none)',
      'function pg_sleep is not on the list: declare it in `functions` only if it is yours, shows no rows, runs no SQL text and touches no setting',
    ],
    [
      'select t.id from tasks t natural join notes n where t.user_id = $1',
      '(none)',
      'isNatural of a JoinExpr is not on the list of what can be proved: write "using (…)" with the owner columns among the others',
    ],
    [
      'select id from tasks tablesample system (10) where user_id = $1',
      '(none)',
      'RangeTableSample is not on the list of what can be proved: write "order by random() limit …"',
    ],
    [
      "select j.a from json_table($1::jsonb, '$' columns (a int)) as j",
      '(none)',
      'JsonTable is not on the list of what can be proved: write "jsonb_to_recordset(…) as t (…)", or jsonb_array_elements',
    ],
    [
      'select 1 === 2',
      '(none)',
      "the operator === is not on the list: write one of PostgreSQL's own, or call a declared function",
    ],
    [
      'select a.b.c.d from tasks where user_id = $1',
      '(none)',
      'a.b.c.d has too many parts: write table.column',
    ],
    ['select * from secrets', 'secrets', 'secrets is no declared table: declare whose its rows are'],
    ['select 1; select 2', '(none)', 'it is 2 statements, not one'],
    ['selec', '(none)', 'PostgreSQL\'s parser cannot read it: syntax error at or near "selec"'],
  ]
  for (const [sql, table, message] of cases) {
    const error = refusal(sql)
    t.same({ table: error?.table, message: error?.message }, { table, message }, sql)
  }
})

t.test('allows declared functions, types and tables in a schema', async (t) => {
  const declaration = {
    owner: ['user_id'],
    owned: ['app.tasks'],
    shared: ['app.labels'],
    functions: ['slug', 'app.mood'],
  }
  t.notOk(refusal("select slug(title), 'ok'::app.mood from app.tasks where user_id = $1", declaration))
  t.notOk(refusal('select tasks.id from app.tasks where app.tasks.user_id = $1', declaration))
  t.notOk(refusal('select name from app.labels', declaration))
  for (const table of ['tasks', 'public.tasks', 'labels', 'public.labels', 'pg_temp.tasks'])
    t.ok(refusal(`select id from ${table} where user_id = $1`, declaration), table)
  t.ok(refusal('select id from app.tasks', declaration))
  t.ok(refusal('select f.pg_read_file from slug($1) as f', declaration))
  t.notOk(refusal('select f.title from slug($1) as f(title)', declaration))
})

t.test('with several owner columns, each is bound to its own parameter', async (t) => {
  const declaration = { owner: ['org_id', 'user_id'], owned: ['tasks', 'notes'], shared: ['labels'] }
  const places = ['org_id', 'user_id']
  const accepted = [
    'select id from tasks where org_id = $1 and user_id = $2',
    'select id from tasks where (user_id, org_id) = ($2, $1)',
    'select t.id from tasks t join notes n using (org_id, user_id) where t.org_id = $1 and t.user_id = $2',
    'insert into tasks (id, user_id, org_id) values (1, $2, $1)',
    'insert into tasks (id, user_id, org_id) select id, user_id, org_id from notes where org_id = $1 and user_id = $2',
    'insert into notes (org_id, user_id, id) values ($1, $2, 1) on conflict (user_id, org_id, id) do update set id = 2',
    'with m as (select org_id o, user_id u from tasks where org_id = $1 and user_id = $2) select n.id from notes n, m where n.org_id = m.o and n.user_id = m.u',
  ]
  const refused = [
    'select id from tasks where org_id = $1',
    'select id from tasks where user_id = $2',
    'select id from tasks where org_id = $2 and user_id = $1',
    'select id from tasks where org_id = $1 and user_id = $1',
    'select id from tasks where org_id = user_id and user_id = $2',
    'select t.id from tasks t join notes n using (org_id) where t.org_id = $1 and t.user_id = $2',
    'insert into tasks (id, user_id, org_id) values (1, $1, $2)',
    'insert into tasks (id, user_id) values (1, $2)',
    'insert into notes (org_id, user_id, id) values ($1, $2, 1) on conflict (user_id, id) do update set id = 2',
    'update tasks set org_id = $1 where org_id = $1 and user_id = $2',
    // Without a group, there is one row even if the condition never held.
    'select count(*), (select count(*) from tasks where org_id = $2 and user_id = $2) from labels where $1 = $2',
  ]
  for (const sql of accepted) t.equal(refusal(sql, declaration, places)?.message, undefined, sql)
  for (const sql of refused) t.ok(refusal(sql, declaration, places), sql)
})

t.test('says whether a statement writes, and whether its columns follow the table', async (t) => {
  const cases: [string, boolean, boolean][] = [
    ['select id from tasks where user_id = $1', false, false],
    ['select * from tasks where user_id = $1', false, true],
    ['select t.* from tasks t where t.user_id = $1', false, true],
    ['select q.* from (select id from tasks where user_id = $1) q', false, false],
    ['select * from (select * from tasks where user_id = $1) q', false, true],
    ['with m as (select * from tasks where user_id = $1) select * from m', false, true],
    ['with m as (select * from tasks where user_id = $1) select id from m', false, false],
    ['select id from tasks where user_id = $1 and exists (select * from labels)', false, false],
    ['select * from generate_series(1, 2)', false, false],
    ['select id from tasks where user_id = $1 union select id from tasks where user_id = $1', false, false],
    ['table labels union table labels', false, true],
    ['select id from tasks where user_id = $1 for share', true, false],
    ['select id from (select id from tasks where user_id = $1 for update) q', true, false],
    ['insert into tasks (id, user_id) values (1, $1)', true, false],
    ['insert into tasks (id, user_id) values (1, $1) returning *', true, true],
    ['update tasks set n = 1 where user_id = $1 returning id', true, false],
    ['delete from tasks where user_id = $1 returning tasks.*', true, true],
    ['with d as (delete from tasks where user_id = $1) select 1', true, false],
    ['merge into tasks t using labels l on t.user_id = $1 when matched then do nothing', true, false],
  ]
  for (const [sql, writes, star] of cases)
    t.same(prove(sql, DECLARATION, OWNER, 'owner'), { writes, star }, sql)
})

t.test('statements of nobody name no owned table', async (t) => {
  const nobody = (sql: string) => () => prove(sql, DECLARATION, ['user_id'], 'nobody')
  t.doesNotThrow(nobody('select * from labels l join countries c on true'))
  t.doesNotThrow(
    nobody("insert into labels (id, name) values (1, $1) on conflict (id) do update set name = 'x'"),
  )
  for (const sql of [
    'select id from tasks where user_id = $1',
    'insert into tasks (id, user_id) values (1, $1)',
    'select (select count(*) from tasks where user_id = $1)',
    'delete from labels using tasks where user_id = $1',
  ])
    t.throws(nobody(sql), UnscopedStatementError, sql)
})

t.test('statements that the parser gives up on are refused, and the next one is read', async (t) => {
  for (const sql of [
    `select ${'('.repeat(100_000)}1${')'.repeat(100_000)}`,
    `select 1 ${'union select 1 '.repeat(20_000)}`,
    'select \ud800',
    "select 'a\0b'",
    '',
    ';',
  ])
    t.ok(refusal(sql), sql.slice(0, 30))
  t.notOk(refusal('select id from tasks where user_id = $1;'))
})
