import { type Expression, type RawBuilder, sql } from 'kysely'
import { PRIORITIES } from '../schemas/task-fields.ts'
import type { Task } from '../schemas/task.ts'
import type { Given } from './isolation/index.ts'
import { validationFailed } from './problem.ts'

// What a list may be sorted by, each said once. Those of equal rank are in the order of their ids, so each order is
// total, and a page begins behind a position: the rank and the id of the last task of the page before.

export type Order = 'asc' | 'desc'
/**
 * Of the first page, `id` is null where there is a rank, else it comes before every id. Of a task without a value, or where
 * the id says it all, `value` is null.
 */
export interface Position {
  id: number | null
  value: string | null
}

interface Sort {
  /** Where the query has none. */
  order: Order
  /** Other names, as front ends have them. */
  aliases?: readonly string[]
  /** Of a row; null comes last. Undefined: the id. */
  rank?: RawBuilder<unknown>
  /** Of a value, to be compared with that of a row. */
  rankOf?: (value: Expression<string | null>) => Expression<unknown>
  value?: (task: Task) => string | null
  /** Whether a text that comes back as a value can be one. */
  isValue?: (text: string) => boolean
}

const milliseconds = (column: string) => sql`date_trunc('milliseconds', ${sql.ref(column)})` // as in answers
const isTimestamp = (text: string) => /^(?!0000)\d{4}-/.test(text) && new Date(text).toJSON() === text

const sorts = {
  created_at: { order: 'desc', aliases: ['created'] }, // ids are given in that order
  updated_at: {
    order: 'desc',
    aliases: ['updated'],
    rank: milliseconds('updated_at'),
    value: (task) => task.updated_at,
    isValue: isTimestamp,
  },
  due_at: {
    order: 'asc',
    aliases: ['due_date'],
    rank: milliseconds('due_at'),
    value: (task) => task.due_at,
    isValue: isTimestamp,
  },
  priority: {
    order: 'desc',
    rank: sql`priority`,
    value: (task) => task.priority,
    isValue: (text) => (PRIORITIES as readonly string[]).includes(text),
  },
  title: {
    order: 'asc',
    rank: sql`lower(title)`,
    rankOf: (value) => sql`lower(${value})`,
    value: (task) => task.title,
    isValue: (text) => text.length <= 510 && text.isWellFormed() && !text.includes('\0'),
  },
} satisfies Record<string, Sort>

export type SortName = keyof typeof sorts
const named = Object.entries(sorts) as [SortName, Sort][]

/** What a query may call them. */
export const SORT_NAMES = Object.fromEntries(
  named.flatMap(([name, { aliases = [] }]) => [name, ...aliases].map((one) => [one, name])),
) as Record<string, SortName>
export const defaultOrder = (sort: SortName): Order => sorts[sort].order

/** A value for each sort and order: `made.due_at.asc`. */
export const eachSort = <T>(make: (sort: SortName, order: Order) => T) =>
  Object.fromEntries(
    named.map(([sort]) => [sort, { asc: make(sort, 'asc'), desc: make(sort, 'desc') }]),
  ) as Record<SortName, Record<Order, T>>

/** What stands behind `order by`. */
export function ordering(sort: SortName, order: Order): RawBuilder<unknown> {
  const { rank }: Sort = sorts[sort]
  const way = sql.raw(order)
  return rank ? sql`${rank} ${way} nulls last, id ${way}` : sql`id ${way}`
}

// Where the id says it all, the first page begins behind every id: with a null, replaced in SQL, PostgreSQL would plan
// each list anew.
const START = { asc: 0, desc: 2 ** 53 }

/** The condition that a row comes behind a position. */
export function behind(sort: SortName, order: Order, { id, value }: Given<Position>): RawBuilder<boolean> {
  const { rank, rankOf = (same) => same }: Sort = sorts[sort]
  const follows = sql.raw(order === 'asc' ? '>' : '<')
  if (!rank) return sql`id ${follows} ${id}`
  return sql`(${id}::bigint is null or case when ${value}::text is null then ${rank} is null and id ${follows} ${id}
    else ${rank} ${follows} ${rankOf(value)} or ${rank} = ${rankOf(value)} and id ${follows} ${id} or ${rank} is null end)`
}

// A cursor is opaque to clients: its meaning may change. That of the order that a list has by itself is an id alone.
const isPlain = (sort: SortName, order: Order) => sort === 'created_at' && order === 'desc'
const encode = (...parts: unknown[]) => Buffer.from(JSON.stringify(parts)).toString('base64url')

/** The cursor of the page behind a task. */
export function cursorOf(sort: SortName, order: Order, task: Task): string {
  const id = task.id.toString(36)
  return isPlain(sort, order)
    ? id
    : `${id}.${encode(sort, order, (sorts[sort] as Sort).value?.(task) ?? null)}`
}

/** @throws HttpProblem 422 if it is no cursor of this order */
export function readCursor(sort: SortName, order: Order, cursor?: string): Position {
  if (cursor === undefined) return { id: (sorts[sort] as Sort).rank ? null : START[order], value: null }
  const [text = '', encoded] = cursor.split('.')
  const id = Number.parseInt(text, 36)
  const value = isPlain(sort, order) ? null : valueIn(sort, encoded)
  const isWhole = id > 0 && id <= Number.MAX_SAFE_INTEGER && value !== undefined
  const again = isPlain(sort, order) ? id.toString(36) : `${id.toString(36)}.${encode(sort, order, value)}`
  if (isWhole && again === cursor) return { id, value }
  throw validationFailed([
    { loc: ['query', 'cursor'], msg: 'is not from a Link header of this order', type: 'cursor' },
  ])
}

/** Undefined if there is none. */
function valueIn(sort: SortName, encoded = ''): string | null | undefined {
  try {
    const [, , value] = JSON.parse(Buffer.from(encoded, 'base64url').toString())
    const { isValue }: Sort = sorts[sort]
    return value === null || (typeof value === 'string' && isValue?.(value)) ? value : undefined
  } catch {
    return undefined
  }
}
