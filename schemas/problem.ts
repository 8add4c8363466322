import { type Static, Type } from '@sinclair/typebox'

/** The body of every failure: RFC 9457, plus `error` and `status_code` for clients of older FastAPI services. */
export const Problem = Type.Object(
  {
    title: Type.String({ description: 'The name of the status', examples: ['Not Found'] }),
    status: Type.Integer({ examples: [404] }),
    detail: Type.String({ description: 'What happened and what to do', examples: ['Task not found'] }),
    code: Type.String({ description: 'Stable and machine-readable', examples: ['task_not_found'] }),
    request_id: Type.String({ description: 'Also in the X-Request-Id header and in the log' }),
    error: Type.String({ description: 'Repeats title' }),
    status_code: Type.Integer({ description: 'Repeats status' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          loc: Type.Array(Type.String(), { examples: [['body', 'title']] }),
          msg: Type.String({ examples: ['is required'] }),
          type: Type.String({ examples: ['required'] }),
        }),
        { description: 'With status 422: each fault found' },
      ),
    ),
  },
  { $id: 'Problem', title: 'Problem' },
)
export type Problem = Static<typeof Problem>

const descriptions: Record<number, string> = {
  400: 'The request is malformed: not JSON, or not HTTP',
  401: 'No token, or one that is not accepted',
  403: 'Not for this user',
  404: 'This user has no such resource',
  413: 'The body is too large',
  415: 'The body is not application/json',
  429: 'Too many requests: try again after Retry-After seconds',
  422: 'A value is missing, unknown or out of bounds; `errors` lists each',
  500: 'A fault of the service, logged under the request id',
  503: 'The service or a dependency is unavailable or overloaded: try again after Retry-After seconds',
}

const challenge = { 'WWW-Authenticate': { type: 'string', description: 'RFC 6750 challenge' } }
const retryAfter = { 'Retry-After': { type: 'string', description: 'Seconds to wait' } }
const headersOf: Record<number, object> = { 401: challenge, 429: retryAfter, 503: retryAfter }

/** An operation's failures by status, for the document; no serializer is built from them. */
export function problemResponses(statuses: readonly number[]): Record<number, object> {
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      {
        description: descriptions[status],
        ...(headersOf[status] && { headers: headersOf[status] }),
        content: { 'application/problem+json': { schema: Type.Ref(Problem) } },
      },
    ]),
  )
}
