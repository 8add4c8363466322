import type { TaskQuery } from '../schemas/task.ts'

/** Which tasks of the list, and how many. */
export interface TaskPage {
  skip: number
  limit: number
  completed?: boolean
  cursor?: string
}

const COMPLETED = { all: undefined, pending: false, completed: true }

/** What a query asks for, in whichever of the ways that front ends say it. */
export function readQuery({ skip, offset, page, limit, cursor, ...state }: TaskQuery): TaskPage {
  const status = state.status ?? state.status_filter ?? 'all'
  return {
    skip: skip + offset + (page - 1) * limit,
    limit,
    cursor,
    completed: state.completed ?? COMPLETED[status],
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

/** The address of the page that begins where the one at `url` ends. */
export function pageAfter(url: string, cursor: string): string {
  const query = new URLSearchParams(url.split('?')[1])
  for (const skipped of ['skip', 'offset', 'page']) query.delete(skipped) // the cursor starts after what was skipped
  query.set('cursor', cursor)
  return `${pathOf(url)}?${query}`
}
