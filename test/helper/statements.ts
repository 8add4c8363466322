// The statements of the service, for tests that look at each.
import type { Statement } from '../../src/isolation/index.ts'
import { isolation } from '../../src/tables.ts'
import '../../src/tasks.ts' // makes them

const others = isolation.declaration.owned.filter((table) => table !== 'tasks')

/** Those that name no owned table but `tasks`. */
export const taskStatements = () =>
  isolation.statements.filter(
    ({ sql }) => !others.some((table) => sql.includes(table)),
  ) as readonly Statement<any, unknown, 'owner'>[]

/** A value for everything that a statement on tasks may be given. */
export const TASK_VALUES = {
  id: 7,
  before: 1_000_000,
  skip: 0,
  limit: 10,
  title: 'x',
  description: null,
  completed: true,
  setsDescription: false,
  versions: null,
}
