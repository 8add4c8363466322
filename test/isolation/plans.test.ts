import { sql } from 'kysely'
import t from 'tap'
import { prove, type ScopedStatement } from '../../src/isolation/index.ts'
import { isolation } from '../../src/tables.ts'
import { database } from '../helper/database.ts'
import { scopeOf } from '../helper/sql.ts'
import { allStatements, TASK_VALUES, variantsOf } from '../helper/statements.ts'

const literal = (value: unknown): string => {
  if (value === null) return 'null'
  return `'${(Array.isArray(value) ? `{${value.join()}}` : String(value)).replaceAll("'", "''")}'`
}

interface Plan {
  'Node Type': string
  Operation?: string
  Plans?: Plan[]
  [detail: string]: unknown
}

const nodesOf = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)]

/** What of a plan reads the setting for each row. */
const perRow = (nodes: Plan[]) =>
  nodes.flatMap((node) =>
    Object.entries(node).filter(
      ([detail, text]) =>
        !['One-Time Filter', 'Plans'].includes(detail) && String(text).includes('current_setting'),
    ),
  )

/** Whether it reads a table by anything but its user. */
const readsOthers = (node: Plan) =>
  ['tasks', 'idempotency_keys'].includes(String(node['Relation Name'])) &&
  node['Node Type'] !== 'ModifyTable' &&
  !(node['Index Cond'] ?? nodesOf(node)[1]?.['Index Cond'])?.toString().includes('user_id')

/** What tells it from others. */
const briefly = (text: string) => {
  const plain = text.replaceAll('"', '').replaceAll(/\s+/g, ' ')
  return `${plain.slice(0, 40)} … ${plain.slice(-70)}`
}

t.test('row-level security costs a check per statement, not per row', async (t) => {
  const db = await database()
  const scope = await scopeOf(db, 'user-7')
  t.ok(allStatements().length > 5, `${allStatements().length} statements`)
  await db.asLogin((login) =>
    login.transaction().execute(async (trx) => {
      await sql`insert into tasks (user_id, title) select 'user-' || n % 100, n::text from generate_series(1, 5000) as n`.execute(
        trx,
      )
      await sql`analyze tasks`.execute(trx)
      await sql`select set_config('app.user_id', 'user-7', true), set_config('role', 'taskward_user', true)`.execute(
        trx,
      )
      // As it is planned for its values, and once and for all.
      for (const mode of ['force_custom_plan', 'force_generic_plan']) {
        await sql`select set_config('plan_cache_mode', ${mode}, true)`.execute(trx)
        for (const [statement, [variant, given]] of allStatements().flatMap((statement) =>
          variantsOf(statement).map((variant) => [statement, variant] as const),
        )) {
          const name = `${mode}, ${variant}: ${briefly(statement.sql)}`
          const { sql: text, parameters }: ScopedStatement = scope.bind(statement as never, given)
          await sql.raw(`prepare explained as ${text}`).execute(trx)
          const list = parameters.map(literal).join(', ')
          const { rows } = await sql
            .raw<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
              `explain (format json) execute explained${list && `(${list})`}`,
            )
            .execute(trx)
          await sql`deallocate explained`.execute(trx)
          const nodes = nodesOf(rows[0]!['QUERY PLAN'][0].Plan)
          t.same(perRow(nodes), [], `no filter per row: ${name}`)
          t.same(nodes.filter(readsOthers), [], `no row of another user is read: ${name}`)
          if (text.includes('insert into')) continue // what is written is checked, row by row
          const once = nodes.filter((node) => String(node['One-Time Filter']).includes('current_setting'))
          t.ok(once.length > 0, `a One-Time Filter: ${name}`)
        }
      }
      const { rows } = await sql<{ 'QUERY PLAN': [{ Plan: Plan }] }>`
        explain (format json) select * from tasks where title <> 'x'`.execute(trx)
      const unbound = perRow(nodesOf(rows[0]!['QUERY PLAN'][0].Plan))
      t.ok(unbound.length > 0, `as one has that is not bound by equality: ${String(unbound)}`)
      await sql`reset role`.execute(trx)
      const { rows: unscoped } = await sql<{ 'QUERY PLAN': [{ Plan: Plan }] }>`
        explain (format json) select * from tasks where title <> 'x'`.execute(trx)
      t.ok(
        nodesOf(unscoped[0]!['QUERY PLAN'][0].Plan).some(readsOthers),
        'one that reads the rows of all is seen',
      )
      await sql`delete from tasks`.execute(trx)
    }),
  )
})

t.test('the list that everybody asks for is planned once and for all', async (t) => {
  const db = await database()
  const scope = await scopeOf(db, 'user-7')
  const list = isolation.statements.find(({ sql: text }) => / and id < \$2 order by id desc /.test(text))
  t.ok(list)
  const { sql: text, parameters } = scope.bind(list as never, { ...TASK_VALUES, id: Number.MAX_SAFE_INTEGER })
  await db.asLogin((login) =>
    login.transaction().execute(async (trx) => {
      await sql`insert into tasks (user_id, title) select 'user-' || n % 100, n::text from generate_series(1, 5000) as n`.execute(
        trx,
      )
      await sql`analyze tasks`.execute(trx)
      await sql`select set_config('app.user_id', 'user-7', true), set_config('role', 'taskward_user', true)`.execute(
        trx,
      )
      await sql.raw(`prepare list as ${text}`).execute(trx)
      for (let i = 0; i < 10; i++)
        await sql.raw(`execute list (${parameters.map(literal).join(', ')})`).execute(trx)
      const { rows } = await sql<{ generic_plans: string }>`
        select generic_plans from pg_prepared_statements where name = 'list'`.execute(trx)
      t.equal(Number(rows[0]?.generic_plans), 5, 'after five plans for the values')
      await sql`deallocate list`.execute(trx)
      await sql`reset role`.execute(trx)
      await sql`delete from tasks`.execute(trx)
    }),
  )
})

t.test('every statement is proved by its owner, and by nothing else', async (t) => {
  const db = await database()
  const [ada, bob] = [await scopeOf(db, 'ada'), await scopeOf(db, 'bob')]
  const { declaration } = isolation
  for (const statement of allStatements()) {
    const [[, values] = []] = variantsOf(statement)
    const other = bob.bind(statement as never, values).parameters
    const parameters = ada.bind(statement as never, values).parameters
    const owners = parameters.map((value, i) => (value === other[i] ? undefined : 'user_id'))
    const name = statement.sql.replaceAll('"', '').slice(0, 70)
    t.ok(owners.includes('user_id'), `it takes its owner: ${name}`)
    t.doesNotThrow(() => prove(statement.sql, declaration, owners, 'owner'), `proved: ${name}`)
    for (const [i, owner] of owners.entries()) {
      if (!owner) continue
      t.throws(
        () => prove(statement.sql, declaration, owners.with(i, undefined), 'owner'),
        { name: 'UnscopedStatementError' },
        `refused if $${i + 1} were an ordinary value: ${name}`,
      )
    }
    t.throws(
      () => prove(statement.sql, declaration, owners, 'nobody'),
      { name: 'UnscopedStatementError' },
      `refused for nobody: ${name}`,
    )
    t.equal(statement.sql.includes("'ada'"), false, 'no owner is in the text')
  }
})
