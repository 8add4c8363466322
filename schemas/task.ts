import { type Static, Type } from '@sinclair/typebox'
import { strictQuery } from './query.ts'

// `type: [string, null]` rather than anyOf: one branch for the validator and the serializer.
const nullable = (options: object) => Type.Unsafe<string | null>({ type: ['string', 'null'], ...options })
const timestamp = (description: string) =>
  Type.String({ description, format: 'date-time', examples: ['2026-01-31T09:30:00.000Z'] })

const title = Type.String({
  minLength: 1,
  maxLength: 255,
  format: 'text',
  pattern: '\\S',
  'x-message': 'must not be blank, or hold NUL or half of a surrogate pair',
  description: '1–255 characters, not all blank',
  examples: ['Buy milk'],
})
const description = nullable({ maxLength: 1000, format: 'text', examples: ['Two litres', null] })
const completed = Type.Boolean({ examples: [false] })
const strict = { additionalProperties: false }

export const Task = Type.Object(
  {
    id: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, examples: [1] }),
    user_id: Type.String({ examples: ['rMGRY14tPdnDx0704nNR7CJ98OadRhdg'] }),
    title: Type.String({ examples: ['Buy milk'] }),
    description: nullable({ examples: ['Two litres', null] }),
    completed,
    created_at: timestamp('When it was created (UTC)'),
    updated_at: timestamp('When it was last changed (UTC)'),
  },
  { $id: 'Task', title: 'Task' },
)
export type Task = Static<typeof Task>

export const NewTask = Type.Object(
  { title, description: Type.Optional(description), completed: Type.Optional(completed) },
  { $id: 'NewTask', title: 'NewTask', ...strict },
)
export type NewTask = Static<typeof NewTask>

export const TaskChange = Type.Object(
  {
    title: Type.Optional(title),
    description: Type.Optional(description),
    completed: Type.Optional(completed),
  },
  { $id: 'TaskChange', title: 'TaskChange', description: 'Only the fields sent are changed', ...strict },
)
export type TaskChange = Static<typeof TaskChange>

export const SetCompleted = Type.Object(
  { completed: Type.Optional(completed) },
  {
    $id: 'SetCompleted',
    title: 'SetCompleted',
    description: 'Empty: flip. With `completed`: set, so that a retry is harmless',
    examples: [{}, { completed: true }],
    ...strict,
  },
)
export type SetCompleted = Static<typeof SetCompleted>

export const TaskStats = Type.Object(
  {
    total: Type.Integer({ examples: [4] }),
    completed: Type.Integer({ examples: [1] }),
    pending: Type.Integer({ examples: [3] }),
    completion_rate: Type.Number({ description: 'Percent, two decimals; 0 for no tasks', examples: [25] }),
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

const oneOf = <const T extends string>(choices: T[], description: string) =>
  Type.Optional(Type.Unsafe<T>({ type: 'string', enum: choices, description }))
const skipped = (description: string) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0, description })

const query = Type.Object(
  {
    skip: skipped('Tasks to skip'),
    offset: skipped('The same'),
    page: Type.Integer({
      minimum: 1,
      maximum: 1_000_000_000,
      default: 1,
      description: 'Skips the pages of `limit` tasks before this one',
    }),
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100, description: 'Tasks in one answer' }),
    cursor: Type.Optional(
      Type.String({ maxLength: 16, description: 'The end of the previous page, from its Link header' }),
    ),
    completed: Type.Optional(
      Type.Boolean({ description: 'Only tasks with this state; goes before `status`' }),
    ),
    status: oneOf(['all', 'pending', 'completed'], 'Only tasks with this state'),
    status_filter: oneOf(['all', 'pending', 'completed'], 'The same, where `status` is not sent'),
    sort: oneOf(['created_at', 'created'], 'The order there is: by creation'),
    sort_by: oneOf(['created_at', 'created'], 'The same'),
    order: oneOf(['desc'], 'The order there is: newest first'),
    search: Type.Optional(
      Type.String({
        pattern: '^$',
        'x-message': 'must be empty: tasks cannot be searched',
        description: 'Empty: tasks cannot be searched',
      }),
    ),
    count: Type.Optional(
      Type.Boolean({ description: 'Ask for X-Total-Count; so does `Prefer: count=exact`' }),
    ),
  },
  strictQuery,
)

/** The validator requires no parameter; the type is that of the query with its defaults filled in. */
const withDefaults = <T extends typeof query>(schema: T): T => ({ ...schema, required: [] })

export const TaskQuery = withDefaults(query)
export type TaskQuery = Static<typeof TaskQuery>

export const Deleted = Type.Object(
  { message: Type.Literal('Task deleted successfully') },
  { $id: 'Deleted', title: 'Deleted' },
)
