import type { Problem as ProblemBody } from '../schemas/problem.ts'

/** One fault of a request: where, what, and of which kind. */
export type Fault = NonNullable<ProblemBody['errors']>[number]

/**
 * An error meant for the client: status, stable code, one sentence. Anything else that is thrown is a bug or
 * a fault, and leaves plugins/errors as one masked sentence.
 */
export class Problem extends Error {
  readonly statusCode: number
  readonly code: string
  readonly headers: Record<string, string>
  readonly errors?: Fault[]

  /**
   * @param statusCode HTTP status, 400–599
   * @param code stable and machine-readable, lower case with underscores
   * @param detail a sentence for the client: what happened and what to do
   * @param options.headers extra response headers, such as Retry-After
   * @param options.errors with 422: each fault
   * @param options.cause the reason, for the log alone
   */
  constructor(
    statusCode: number,
    code: string,
    detail: string,
    options: { headers?: Record<string, string>; errors?: Fault[]; cause?: unknown } = {},
  ) {
    super(detail, { cause: options.cause })
    this.name = 'Problem'
    this.statusCode = statusCode
    this.code = code
    this.headers = options.headers ?? {}
    this.errors = options.errors
  }
}

/** 503: the request was fine and may be repeated after `seconds`. */
export function unavailable(code: string, detail: string, cause?: unknown, seconds = 1): Problem {
  return new Problem(503, code, detail, { headers: { 'retry-after': String(seconds) }, cause })
}

/** 422, with each fault. */
export function validationFailed(errors: Fault[]): Problem {
  return new Problem(422, 'validation_failed', 'Some values are missing, unknown or out of bounds.', {
    errors,
  })
}
