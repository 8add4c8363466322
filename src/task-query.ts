import { type Static, Type } from '@sinclair/typebox'
import { strictQuery } from '../schemas/query.ts'
import { type Chosen, filterParameters, readFilters } from './task-filters.ts'
import { defaultOrder, type Order, SORT_NAMES, type SortName } from './task-sorts.ts'

const skipped = (options: object) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0, ...options })
const sort = (options: object) =>
  Type.Optional(Type.Unsafe<string>({ type: 'string', enum: Object.keys(SORT_NAMES), ...options }))

const DEFAULT_LIMIT = 100

const query = Type.Object(
  {
    skip: skipped({ description: 'Tasks to skip' }),
    offset: skipped({ description: 'The same', deprecated: true }),
    page: Type.Integer({
      minimum: 1,
      maximum: 1_000_000_000,
      default: 1,
      deprecated: true,
      description: 'Skips the pages of `limit` tasks before this one',
    }),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1000,
        description: 'Tasks in one answer. Default: 100, or as many as there are `ids`',
      }),
    ),
    cursor: Type.Optional(
      Type.String({ maxLength: 2200, description: 'From the Link header of the page before' }),
    ),
    ...(filterParameters as object),
    sort: sort({ description: 'What they are sorted by; tasks without a value come last' }),
    sort_by: sort({ description: 'The same, where `sort` is not sent', deprecated: true }),
    order: Type.Optional(
      Type.Unsafe<Order>({
        type: 'string',
        enum: ['asc', 'desc'],
        description: 'Default: `asc` for `due_at` and `title`, else `desc`',
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

/** The tasks that a change of several is for. */
export const TaskSelection = Type.Object(filterParameters, strictQuery)

/** Which tasks of the list, in which order, and how many. */
export interface TaskPage {
  skip: number
  limit: number
  cursor?: string
  /** Default: all. */
  chosen?: Chosen
  /** Default: created_at. */
  sort?: SortName
  /** Default: desc. */
  order?: Order
}

/** What a query asks for, in whichever of the ways that front ends say it. */
export function readQuery(query: TaskQuery): TaskPage {
  const { skip, offset, page, cursor } = query
  const chosen = readFilters(query)
  const limit = query.limit ?? chosen.by_ids?.length ?? DEFAULT_LIMIT
  const sort = SORT_NAMES[query.sort ?? query.sort_by ?? 'created_at'] as SortName
  return {
    skip: skip + offset + (page - 1) * limit,
    limit,
    cursor,
    chosen,
    sort,
    order: query.order ?? defaultOrder(sort),
  }
}

/** RFC 7240: `Prefer: count=exact` among other preferences. */
export function prefersCount(prefer = ''): boolean {
  return prefer.split(',').some((preference) => /^\s*count\s*=\s*"?exact"?\s*(;|$)/i.test(preference))
}

/** The path of a request target: that of the absolute form names a host as well (RFC 9112, 3.2.2). */
export function pathOf(url: string): string {
  const [target = ''] = url.split('?', 1)
  return target.replace(/^[a-z][a-z\d+.-]*:\/\/[^/]*/i, '').replace(/\/$/, '')
}

// nginx answers 502 for more than 4 KB of headers in all, unless told otherwise, and fetch of Node.js refuses 16 KB. Only
// hundreds of `ids`, or a search of its full length in signs that are escaped, make it longer.
const MAX_LINK_BYTES = 3 * 1024

/** The Link header to the page that begins where the one at `url` ends; undefined if it would be too long to be taken. */
export function linkAfter(url: string, cursor: string): string | undefined {
  const query = new URLSearchParams(url.split('?')[1])
  for (const skipped of ['skip', 'offset', 'page']) query.delete(skipped) // the cursor starts after what was skipped
  query.set('cursor', cursor)
  const address = `${pathOf(url)}?${String(query).replaceAll('%2C', ',')}` // hundreds of ids: no longer than they came
  return address.length <= MAX_LINK_BYTES ? `<${address}>; rel="next"` : undefined
}
