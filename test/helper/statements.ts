// The statements of the service, for tests that look at each.
import type { Statement } from '../../src/isolation/index.ts'
import { DEFAULTS } from '../../schemas/task-fields.ts'
import { isolation } from '../../src/tables.ts'
import { ALL, readFilters } from '../../src/task-filters.ts'
import '../../src/many-tasks.ts' // makes them, as does what it imports

const others = isolation.declaration.owned.filter((table) => table !== 'tasks')

/** Every statement of the service on owned tables, with those of export and erasure. */
export const allStatements = (): Statement<any, unknown, 'owner'>[] => [
  ...isolation.statements,
  ...isolation.tables.flatMap(({ firstPage, nextPage, deleteFirst, deleteNext }) => [
    firstPage,
    nextPage,
    deleteFirst,
    deleteNext,
  ]),
]

/** Those that name no owned table but `tasks`. */
export const taskStatements = () =>
  isolation.statements.filter(
    ({ sql }) => !others.some((table) => sql.includes(table)),
  ) as readonly Statement<any, unknown, 'owner'>[]

/** A value for everything that a statement on tasks may be given. */
export const TASK_VALUES = {
  ...ALL,
  ...DEFAULTS,
  id: 7,
  value: null,
  skip: 0,
  limit: 10,
  title: 'x',
  completed: true,
  sets: ['completed'],
  versions: null,
  tasks: '[{"title":"x","completed":true,"tags":[]}]',
}

/** The same with every filter, behind a position. */
export const CHOSEN_VALUES = {
  ...TASK_VALUES,
  ...readFilters({
    completed: true,
    priority: 'high',
    tag: 'home',
    due_before: '2026-12-01',
    due_after: '2020-01-01',
    overdue: false,
    search: 'buy milk',
    ids: '1,7,900',
  }),
}

const MORE = { after: 1_000_000, key: 'k', request: 'r' }

/** What a statement may be given, beside its owner: a list by a rank begins at no id, or behind one. */
export const variantsOf = (statement: { sql: string }): [name: string, values: Record<string, unknown>][] => [
  ['plain', { ...TASK_VALUES, ...MORE, ...(isByRank(statement) && { id: null }) }],
  ['chosen', { ...CHOSEN_VALUES, ...MORE }],
]

/** Whether it is a list by a rank: its first page has no id. */
const isByRank = ({ sql }: { sql: string }): boolean => /\$\d+::bigint is null or case /.test(sql)
