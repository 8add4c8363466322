import type { FastifyError } from 'fastify'
import { isPassingFault, sqlStateOf } from './database/index.ts'
import { type Fault, HttpProblem, unavailable, validationFailed } from './problem.ts'

// Our own sentences: a library's text never reaches a client.
const FRAMEWORK: Record<string, [status: number, code: string, detail: string]> = {
  FST_ERR_BAD_URL: [
    400,
    'malformed_url',
    'The address has a percent sign that is not followed by valid UTF-8.',
  ],
  FST_ERR_MAX_PARAM_LENGTH: [414, 'url_too_long', 'A part of the path is too long.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [415, 'unsupported_media_type', 'Send the body as application/json.'],
  FST_ERR_CTP_BODY_TOO_LARGE: [413, 'body_too_large', 'The body is too large.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [
    400,
    'malformed_request',
    'The body is not as long as Content-Length says.',
  ],
}

// Values that PostgreSQL refuses, by SQLSTATE.
const VIOLATIONS: Record<string, [status: number, code: string, detail: string]> = {
  '23505': [409, 'already_exists', 'Something with these values exists already.'],
  '23503': [
    409,
    'reference_violated',
    'It refers to something that does not exist, or is referred to itself.',
  ],
  '23514': [422, 'value_not_allowed', 'A value is not allowed here.'],
  '22021': [422, 'text_not_allowed', 'A text has a character that cannot be stored, such as NUL.'],
}

// Ajv's faults, by keyword.
const MESSAGES: Record<string, (params: Record<string, unknown>) => string> = {
  required: () => 'is required',
  additionalProperties: () => 'is unknown',
  type: ({ type }) => `must be ${[type].flat().join(' or ')}`,
  minLength: ({ limit }) => `must have at least ${limit} character(s)`,
  maxLength: ({ limit }) => `must have at most ${limit} characters`,
  minimum: ({ limit }) => `must be at least ${limit}`,
  maximum: ({ limit }) => `must be at most ${limit}`,
  format: ({ format }) => `must be of the form ${format}`,
  pattern: () => 'must not be blank, or hold NUL or half of a surrogate pair',
}
const MAX_FAULTS = 20

export type Failure = Error &
  Partial<Pick<FastifyError, 'code' | 'statusCode' | 'validation' | 'validationContext'>>

/** The problem that the client is sent for whatever was thrown. */
export function toHttpProblem(error: Failure): HttpProblem {
  if (error instanceof HttpProblem) return error
  if (error.validation) return validationFailed(faultsOf(error))
  const known = FRAMEWORK[error.code ?? '']
  if (known) return new HttpProblem(...known)
  const status = error.statusCode
  if (status && status >= 400 && status < 500) {
    return new HttpProblem(status, 'bad_request', 'The request cannot be understood.', { cause: error })
  }
  const violation = VIOLATIONS[sqlStateOf(error) ?? '']
  if (violation) return new HttpProblem(...violation, { cause: error })
  if (isPassingFault(error)) {
    return unavailable(
      'database_unavailable',
      'The database did not answer in time. Try again shortly.',
      error,
    )
  }
  return new HttpProblem(
    500,
    'internal_error',
    'Something went wrong here. It is in the log under the request id.',
    { cause: error },
  )
}

function faultsOf({ validation = [], validationContext = 'body' }: Failure): Fault[] {
  return validation.slice(0, MAX_FAULTS).map(({ instancePath, keyword, params }) => {
    const field = params.missingProperty ?? params.additionalProperty
    const path = instancePath.split('/').slice(1)
    return {
      loc: [validationContext, ...path, ...(field === undefined ? [] : [String(field)])],
      msg: MESSAGES[keyword]?.(params) ?? 'is not valid',
      type: keyword,
    }
  })
}
