import { sql } from 'kysely'
import t from 'tap'
import { statement } from '../../src/tables.ts'

// Where the types stop short: these compile, since Kysely's builder of one table still knows that table, and can loosen
// a condition. The guard refuses each, so a process that holds one does not start.

const row = { title: 'x', description: null }

const everyday: Record<string, () => unknown> = {
  'joins the table once more': () =>
    statement((mine) =>
      mine
        .selectFrom('tasks')
        .innerJoin('tasks as other', 'other.completed', 'tasks.completed')
        .select('other.title'),
    ),
  'asks it in a sub-query': () =>
    statement((mine) =>
      mine.selectFrom('tasks').select((eb) => eb.selectFrom('tasks as o').select('o.title').limit(1).as('x')),
    ),
  'clears the condition': () => statement((mine) => mine.selectFrom('tasks').clearWhere().select('title')),
  'adds a union': () =>
    statement((mine) =>
      mine
        .selectFrom('tasks')
        .select('title')
        .union((eb) => eb.selectFrom('tasks').select('title')),
    ),
  'asks it by hand': () =>
    statement((mine) =>
      mine.selectFrom('tasks').select(sql<string>`(select string_agg(title, ',') from tasks)`.as('x')),
    ),
  'updates from it': () =>
    statement((mine) =>
      mine
        .updateTable('tasks')
        .from('tasks as o')
        .set((eb) => ({ title: eb.ref('o.title') })),
    ),
  'returns it': () =>
    statement((mine) =>
      mine
        .updateTable('tasks')
        .set({ title: 'x' })
        .returning((eb) => eb.selectFrom('tasks as o').select('o.title').limit(1).as('t')),
    ),
  'takes over a row in conflict': () =>
    statement((mine) =>
      mine
        .insertInto('tasks', row)
        .onConflict((conflict) => conflict.column('id').doUpdateSet({ title: 'taken' })),
    ),
  'joins it to its own rows': () =>
    statement((mine) =>
      mine.rows('tasks').innerJoin('tasks as o', 'o.completed', 'tasks.completed').select('o.title'),
    ),
}

t.test('everyday statements that the types let pass', (t) => {
  for (const [what, build] of Object.entries(everyday)) {
    const refusal = {
      name: 'UnscopedStatementError',
      message: / is not bound to its owner: add "\w+\.user_id = \$/,
    }
    t.throws(build, refusal, `${what}: the guard refuses it`)
  }
  t.end()
})

t.test('a refusal says where the statement is, however deep the guard found it', (t) => {
  const select = 'select id from nobody where id in (select id from (select id from nobody) as n)'
  try {
    statement(() => sql`${sql.raw(select)}`)
    t.fail('refused')
  } catch (error) {
    t.match(
      (error as Error).stack,
      /UnscopedStatementError: nobody is no declared table.*\n(.*\n)?.*everyday\.test\.ts/,
    )
  }
  t.end()
})
