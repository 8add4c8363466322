import t from 'tap'
import { isolation } from '../../src/tables.ts'
import '../../src/tasks.ts'
import { database } from '../helper/database.ts'
import { asRole, scopeOf } from '../helper/sql.ts'

t.test('row-level security is asked once for a statement, not for each row', async (t) => {
  const db = await database()
  const scope = await scopeOf(db, 'ada')
  const values = {
    id: 7,
    before: 1_000_000,
    skip: 0,
    limit: 10,
    title: 'x',
    description: null,
    completed: true,
    setsDescription: false,
  }
  const statements = isolation.statements.filter(({ sql }) => !sql.startsWith('insert'))
  t.ok(statements.length > 0, 'there are statements')
  for (const statement of statements) {
    const { sql, parameters } = scope.bind(statement, values)
    const lines = await asRole(db, { user: 'ada' }, `explain (costs off) ${sql}`, ...parameters)
    const plan = lines.map((line) => line['QUERY PLAN']).join('\n')
    t.match(plan, /One-Time Filter: .*current_setting/, sql.slice(0, 70))
    t.notMatch(plan, /\n *Filter: .*current_setting/, 'no row is filtered by it')
  }
})
