import packageJson from '../package.json' with { type: 'json' }
import type { Problem } from '../schemas/problem.ts'

/** One fault of a request: where, what, and of which kind. */
export type Fault = NonNullable<Problem['errors']>[number]

/**
 * An error meant for the client: status, stable code, one sentence. Anything else that is thrown is a bug or a fault;
 * src/failures.ts decides what the client gets then.
 */
export class HttpProblem extends Error {
  readonly statusCode: number
  readonly code: string
  readonly headers: Record<string, string>
  readonly errors?: Fault[]
  /** The reason, where the client is told it: in development alone. */
  hint?: string

  /**
   * @param statusCode HTTP status, 400–599
   * @param code stable and machine-readable, lower case with underscores
   * @param detail a sentence for the client: what happened and what to do
   * @param options.headers extra response headers, such as Retry-After
   * @param options.errors with 422: each fault
   * @param options.cause the reason, for the log only
   */
  constructor(
    statusCode: number,
    code: string,
    detail: string,
    options: { headers?: Record<string, string>; errors?: Fault[]; cause?: unknown } = {},
  ) {
    super(detail, { cause: options.cause })
    this.name = 'HttpProblem'
    this.statusCode = statusCode
    this.code = code
    this.headers = options.headers ?? {}
    this.errors = options.errors
  }
}

/** 503: the request was fine and may be repeated after `seconds`. */
export function unavailable(code: string, detail: string, cause?: unknown, seconds = 1): HttpProblem {
  return new HttpProblem(503, code, detail, { headers: { 'retry-after': String(seconds) }, cause })
}

/** 503: the database is out of reach or overloaded, and nothing was done. */
export function databaseUnavailable(cause: unknown): HttpProblem {
  return unavailable('database_unavailable', 'The database did not answer in time. Try again shortly.', cause)
}

/** 429: more requests at once than are queued. */
export function tooManyAtOnce(detail = 'Too many requests at once. Try again shortly.'): HttpProblem {
  return new HttpProblem(429, 'too_many_at_once', detail, { headers: { 'retry-after': '1' } })
}

/** 422, with each fault; its `detail` is the first of them. */
export function validationFailed(errors: [Fault, ...Fault[]]): HttpProblem {
  const [{ loc, msg }, ...others] = errors
  const place = (loc.length > 1 ? loc.slice(1) : loc).join('.').slice(0, 100)
  const more = others.length > 0 ? ` (and ${others.length} more in errors)` : ''
  return new HttpProblem(422, 'validation_failed', `${place} ${msg}${more}`, { errors })
}

/**
 * 401, with the challenge that RFC 6750, 3 requires.
 * @param parameters of the challenge; none where no credential was sent (RFC 6750, 3.1)
 * @param cause the reason, for the log
 */
export function unauthorized(code: string, detail: string, parameters = '', cause?: unknown): HttpProblem {
  const challenge = `Bearer realm="${packageJson.name}"${parameters}`
  return new HttpProblem(401, code, detail, { headers: { 'www-authenticate': challenge }, cause })
}

/** 400: the account is deactivated, or the token says `disabled`. */
export const inactiveUser = () => new HttpProblem(400, 'inactive_user', 'Inactive user')
