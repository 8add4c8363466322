import { type Static, type TInteger, Type } from '@sinclair/typebox'
import { ref } from './responses.ts'
import { answers, bodies, fields, INSTEAD, PRIORITIES, type Priority } from './task-fields.ts'

const timestamp = (description: string) =>
  Type.String({ description, format: 'date-time', examples: ['2026-01-31T09:30:00.000Z'] })

const strict = { additionalProperties: false, 'x-instead': INSTEAD }

export const Task = Type.Object(
  {
    id: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, examples: [1] }),
    user_id: Type.String({ examples: ['rMGRY14tPdnDx0704nNR7CJ98OadRhdg'] }),
    ...answers,
    created_at: timestamp('When it was created (UTC)'),
    updated_at: timestamp('When it was last changed (UTC)'),
  },
  { $id: 'Task', title: 'Task' },
)
export type Task = Static<typeof Task>

/** As an export has it: under the names of its columns alone. */
export const StoredTask = Type.Omit(Task, ['due_date'], { $id: 'StoredTask', title: 'StoredTask' })

const change = Type.Partial(Type.Object(bodies)).properties

export const TaskChange = Type.Object(change, {
  $id: 'TaskChange',
  title: 'TaskChange',
  description: 'Only the fields sent are changed',
  examples: [{ completed: true }],
  ...strict,
})
export type TaskChange = Static<typeof TaskChange>

export const NewTask = Type.Object(
  { ...change, title: bodies.title },
  {
    $id: 'NewTask',
    title: 'NewTask',
    examples: [{ title: 'Buy milk', description: 'Two litres', priority: 'high', tags: ['home'] }],
    ...strict,
    'x-instead': { ...INSTEAD, '[]': '…/bulk for a list' },
  },
)
export type NewTask = Static<typeof NewTask>

const ignored = (description: string) => Type.Optional(Type.Unknown({ description }))

/** A row of an export is one. */
const ImportedTask = Type.Object(
  {
    ...NewTask.properties,
    id: ignored('Ignored but for the order: it gets a new one'),
    ...Object.fromEntries(
      ['user_id', 'created_at', 'updated_at', 'version'].map((name) => [name, ignored('Ignored')]),
    ),
  },
  { $id: 'ImportedTask', title: 'ImportedTask', ...strict },
)

export const NewTasks = Type.Array(ref(ImportedTask), {
  $id: 'NewTasks',
  title: 'NewTasks',
  maxItems: 1000,
  description:
    'New tasks, or `{"tasks": […]}`, such as an export. Those with an id are made in the order of their ids',
  examples: [[{ title: 'Buy milk' }, { title: 'Call Bob', priority: 'high' }]],
})
export type NewTasks = Static<typeof NewTasks>

export const SetCompleted = Type.Object(
  { completed: Type.Optional(fields.completed.body) },
  {
    $id: 'SetCompleted',
    title: 'SetCompleted',
    description: 'Empty: flip. With `completed`: set, so that a retry is harmless',
    examples: [{}, { completed: true }],
    additionalProperties: false,
  },
)
export type SetCompleted = Static<typeof SetCompleted>

const number = (example: number, description?: string) =>
  Type.Integer({ examples: [example], ...(description && { description }) })

const byPriority = Object.fromEntries([...PRIORITIES, 'none'].map((name) => [name, number(1)])) as Record<
  Priority | 'none',
  TInteger
>

export const TaskStats = Type.Object(
  {
    total: number(4),
    completed: number(1),
    pending: number(3),
    completion_rate: Type.Number({ description: 'Percent, two decimals; 0 for no tasks', examples: [25] }),
    overdue: number(1, 'Not completed, and due before now'),
    by_priority: Type.Object(byPriority),
  },
  { $id: 'TaskStats', title: 'TaskStats' },
)
export type TaskStats = Static<typeof TaskStats>

export const TaskId = Type.Object({
  id: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'The task', examples: [1] }),
})

export const TaskOwner = Type.Object({
  user_id: Type.String({
    description: "The token's own user; another is 403", // no example: it would be refused
  }),
})

export const TaskHeaders = Type.Object({
  prefer: Type.Optional(Type.String({ description: '`count=exact` asks for X-Total-Count (RFC 7240)' })),
})

export const Deleted = Type.Object(
  { message: Type.Literal('Task deleted successfully') },
  { $id: 'Deleted', title: 'Deleted' },
)

/** What a change or deletion of several did. */
export const Affected = Type.Object(
  {
    count: number(2, 'How many'),
    missing: Type.Array(Type.Integer(), {
      description:
        'Of the ids sent, those that it was not done to: no task of this user, or excluded by another filter',
      examples: [[7]],
    }),
  },
  { $id: 'Affected', title: 'Affected' },
)
export type Affected = Static<typeof Affected>
