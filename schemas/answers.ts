import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { Problem } from './problem.ts'

const descriptions: Record<number, string> = {
  400: 'The request is malformed: not JSON, or not HTTP',
  401: 'No token, or one that is not accepted',
  403: 'Not for this user',
  404: 'There is no such thing for this user',
  413: 'The body is too large',
  415: 'The body is not application/json',
  429: 'Too many requests: try again after Retry-After seconds',
  422: 'A value is missing, unknown or out of bounds; `errors` lists each',
  500: 'A fault of the service, logged under the request id',
  503: 'Something it needs is out of reach or overloaded: try again after Retry-After seconds',
}

const challenge = { 'WWW-Authenticate': { type: 'string', description: 'RFC 6750 challenge' } }
const retryAfter = { 'Retry-After': { type: 'string', description: 'Seconds to wait' } }
const headersOf: Record<number, object> = { 401: challenge, 429: retryAfter, 503: retryAfter }

/** Response schemas for the given failure statuses, to be spread into a route's `response`. */
export function problems<const S extends number>(...statuses: S[]) {
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      {
        description: descriptions[status],
        ...(headersOf[status] && { headers: headersOf[status] }),
        content: { 'application/problem+json': { schema: Type.Ref(Problem) } },
      },
    ]),
  ) as Record<S, unknown>
}

/** A success: the schema of its body, what it is, and its headers. */
export function answer<T extends TSchema>(
  schema: T,
  description: string,
  headers?: Record<string, object>,
): T {
  return { ...schema, description, ...(headers && { headers }) }
}

/** A reference to a schema that plugins/validation has made known by its `$id`. */
export function ref<T extends TSchema>(schema: T) {
  return Type.Unsafe<Static<T>>(Type.Ref(schema.$id as string))
}
