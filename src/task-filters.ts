import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { type Expression, type RawBuilder, sql } from 'kysely'
import { PRIORITIES, toInstant } from '../schemas/task-fields.ts'
import type { Given } from './isolation/index.ts'
import { validationFailed } from './problem.ts'

// What tasks may be chosen by, each said once: its parameter in the query, what is made of that, and its condition.
// Every statement that chooses has all conditions; one whose value is not given holds for each row. On Citus, a change
// may apply no stable function to a column, such as a cast to text or concat_ws(), and none inside coalesce().

/** A parameter, and its value; undefined, as if it was not sent. */
interface Parameter<Schema extends TSchema, Value> {
  parameter: Schema
  value?: (sent: Static<Schema>) => Value | undefined
}
interface Filter<Schema extends TSchema, Value> extends Parameter<Schema, Value> {
  /** Other parameters for the same, as front ends have them: the first that is sent counts. */
  aliases?: Record<string, Parameter<any, Value>>
  type: 'boolean' | 'text' | 'task_priority' | 'text[]' | 'bigint[]' | 'timestamptz'
  where: (value: Expression<Value>) => RawBuilder<boolean>
}
const filter = <Schema extends TSchema, Value = Static<Schema>>(options: Filter<Schema, Value>) => options

const oneOf = <const T extends string>(choices: readonly T[], description: string) =>
  Type.Unsafe<T>({ type: 'string', enum: choices, description })

const STATES = { all: undefined, pending: false, completed: true }
const state = (description: string) => ({
  parameter: oneOf(['all', 'pending', 'completed'], description),
  value: (sent: keyof typeof STATES) => STATES[sent],
})

const tag = (description: string) => ({
  parameter: Type.String({ maxLength: 100, format: 'text', description }),
  value: (sent: string) => sent.trim() || undefined,
})

const moment = (description: string) => ({
  parameter: Type.String({ format: 'instant', description }),
  value: (sent: string) => (sent ? toInstant(sent) : undefined),
})

const outOfBounds = (name: string, msg: string) =>
  validationFailed([{ loc: ['query', name], msg, type: 'maximum' }])

function ids(sent: string): string[] {
  const ids = sent.split(',')
  if (ids.some((id) => Number(id) > Number.MAX_SAFE_INTEGER))
    throw outOfBounds('ids', `must be at most ${Number.MAX_SAFE_INTEGER} each`)
  return ids
}

const MAX_WORDS = 10
/** Each word as a pattern of LIKE in which no sign means anything but itself. */
function patterns(text: string): string[] | undefined {
  const words = text.normalize('NFKC').split(/\s+/).filter(Boolean)
  if (words.length > MAX_WORDS) throw outOfBounds('search', `must have at most ${MAX_WORDS} words`)
  return words.length > 0 ? words.map((word) => `%${word.replaceAll(/[\\%_]/g, '\\$&')}%`) : undefined
}

/** Due before now, and not completed. */
export const isOverdue = sql<boolean>`(not completed and due_at is not null and due_at < now())`

const filters = {
  completed: filter({
    parameter: Type.Boolean({ description: 'Only tasks with this state; takes precedence over `status`' }),
    aliases: {
      status: state('Only tasks with this state'),
      status_filter: state('The same, where `status` is not sent'),
    },
    type: 'boolean',
    where: (value) => sql`completed = ${value}`,
  }),
  priority: filter({
    parameter: oneOf(['', 'all', ...PRIORITIES], 'Only tasks of this priority'),
    value: (sent): string | undefined => (sent === 'all' ? undefined : sent || undefined),
    type: 'task_priority',
    where: (value) => sql`priority = ${value}`,
  }),
  tag: filter({
    ...tag('Only tasks with this tag, in upper or lower case'),
    aliases: { tags: tag('The same: one tag') },
    type: 'text',
    where: (value) => sql`exists (select from unnest(tags) as tag where lower(tag) = lower(${value}))`,
  }),
  due_before: filter({
    ...moment('Only tasks due before this; a date is its midnight in UTC'),
    type: 'timestamptz',
    where: (value) => sql`due_at < ${value}`,
  }),
  due_after: filter({
    ...moment('Only tasks due after this'),
    type: 'timestamptz',
    where: (value) => sql`due_at > ${value}`,
  }),
  overdue: filter({
    parameter: Type.Boolean({
      description: 'Only tasks that are due before now and not completed; `false`: the others',
    }),
    type: 'boolean',
    where: (value) => sql`${isOverdue} = ${value}`,
  }),
  search: filter({
    parameter: Type.String({
      maxLength: 200,
      format: 'text',
      description: `Only tasks with each of these words, up to ${MAX_WORDS}, in title or description; signs stand for themselves`,
    }),
    value: patterns,
    type: 'text[]',
    where: (value) => sql`normalize(title || ' ' || coalesce(description, ''), nfkc) ilike all(${value})`,
  }),
  ids: filter({
    parameter: Type.String({
      pattern: '^[1-9]\\d{0,15}(,[1-9]\\d{0,15}){0,999}$',
      'x-message': 'must be up to 1,000 ids with commas between them',
      description: 'Only these tasks: up to 1,000 ids, with commas between them',
    }),
    value: ids,
    type: 'bigint[]',
    where: (value) => sql`id = any(${value})`,
  }),
}

type Filters = typeof filters
/** The value that each filter is given; null where it is not. Not by its bare name, which a field may have as well. */
export type Chosen = {
  [Name in keyof Filters as `by_${Name}`]: Filters[Name] extends Filter<any, infer Value>
    ? Value | null
    : never
}

const each = Object.entries(filters).map(([name, { aliases, ...own }]) => ({
  name: `by_${name}` as keyof Chosen,
  parameters: Object.entries({ [name]: own, ...aliases }) as [string, Parameter<TSchema, unknown>][],
  type: sql.raw(own.type),
  where: own.where as (value: Expression<unknown>) => RawBuilder<boolean>,
}))

/** The condition that all filters make together. */
export const chosen = (given: Given<Chosen>): RawBuilder<boolean> =>
  sql`(${sql.join(
    each.map(({ name, type, where }) => sql`(${given[name]}::${type} is null or ${where(given[name])})`),
    sql` and `,
  )})`

/** The parameters of all filters. */
export const filterParameters: Record<string, TSchema> = Object.fromEntries(
  each.flatMap(({ parameters }) =>
    parameters.map(([parameter, { parameter: schema }], i) => [
      parameter,
      Type.Optional(i === 0 ? schema : { ...schema, deprecated: true }),
    ]),
  ),
)

/** No filter. */
export const ALL = Object.fromEntries(each.map(({ name }) => [name, null])) as Chosen

/** @throws HttpProblem 422 for what the parameters' schemas cannot say */
export function readFilters(query: Record<string, unknown>): Chosen {
  if (!Object.keys(query).some((name) => name in filterParameters)) return ALL // most lists have none
  return Object.fromEntries(
    each.map(({ name, parameters }) => {
      const [parameter = '', { value } = {}] = parameters.find(([one]) => query[one] !== undefined) ?? []
      const sent = query[parameter]
      return [name, (value && sent !== undefined ? value(sent as never) : sent) ?? null]
    }),
  ) as Chosen
}

/** Whether any filter is given. */
export const choosesAny = (chosen: Chosen): boolean => Object.values(chosen).some((value) => value !== null)

/**
 * What a change of several tasks chooses: an empty value, which a list passes over, could choose more than was meant.
 * @throws HttpProblem 422 if it has an empty value, or no filter
 */
export function readSelection(query: Record<string, unknown>): Chosen {
  const empty = Object.keys(filterParameters).find((name) => /^\s*$/.test(String(query[name] ?? '-')))
  const chosen = readFilters(query)
  if (empty === undefined && choosesAny(chosen)) return chosen
  const msg = empty === undefined ? 'must have ids or another filter' : 'must not be empty'
  throw validationFailed([{ loc: empty === undefined ? ['query'] : ['query', empty], msg, type: 'required' }])
}
