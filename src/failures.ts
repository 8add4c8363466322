import type { FastifyError } from 'fastify'
import {
  isPassingFault,
  OutcomeUnknownError,
  OverloadedError,
  sqlStateOf,
  StorageFullError,
} from './database/index.ts'
import { databaseUnavailable, type Fault, HttpProblem, unavailable, validationFailed } from './problem.ts'

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
  '23P01': [409, 'already_exists', 'It overlaps with something that exists already.'],
  '23514': [422, 'value_not_allowed', 'A value is not allowed here.'],
  '23502': [422, 'value_not_allowed', 'A value is missing.'],
  '22001': [422, 'value_not_allowed', 'A text is too long.'],
  '22003': [422, 'value_not_allowed', 'A number is too large or too small.'],
  '22021': [422, 'text_not_allowed', 'A text has a character that cannot be stored, such as NUL.'],
  '22P05': [422, 'text_not_allowed', 'A text has a character that cannot be stored, such as NUL.'], // in jsonb
}

const either = (words: unknown[]) =>
  words.length < 2 ? words.join() : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
const TYPES: Record<string, string> = {
  array: 'a list',
  object: 'an object',
  string: 'a string',
  integer: 'an integer',
  number: 'a number',
  boolean: 'true or false',
}
const characters = (count: unknown) => `${count} character${count === 1 ? '' : 's'}`

// Ajv's faults, by keyword. A schema may have its own sentence in `x-message`, and in `x-instead` what to use for names
// that it does not know, and for a list (`[]`).
const MESSAGES: Record<string, (params: Record<string, unknown>) => string> = {
  required: () => 'is required',
  additionalProperties: () => 'is unknown',
  type: ({ type }) => `must be ${either([type].flat().map((name) => TYPES[String(name)] ?? name))}`,
  // Null and the empty text stand for none.
  enum: ({ allowedValues }) =>
    `must be ${either([allowedValues].flat().filter((value) => value !== '' && value !== null))}`,
  const: ({ allowedValue }) => `must be ${allowedValue}`,
  minLength: ({ limit }) => `must have at least ${characters(limit)}`,
  maxLength: ({ limit }) => `must have at most ${characters(limit)}`,
  minimum: ({ limit }) => `must be at least ${limit}`,
  maximum: ({ limit }) => `must be at most ${limit}`,
  exclusiveMinimum: ({ limit }) => `must be more than ${limit}`,
  exclusiveMaximum: ({ limit }) => `must be less than ${limit}`,
  multipleOf: ({ multipleOf }) => `must be a multiple of ${multipleOf}`,
  minItems: ({ limit }) => `must have at least ${limit} item(s)`,
  maxItems: ({ limit }) => `must have at most ${limit} item(s)`,
  uniqueItems: () => 'must not have an item twice',
  pattern: ({ pattern }) => `must match ${pattern}`,
  format: ({ format }) => FORMAT_MESSAGES[String(format)] ?? `must be of the form ${format}`,
}
const FORMAT_MESSAGES: Record<string, string> = {
  text: 'must not hold NUL or half of a surrogate pair',
  line: 'must not hold control characters or half of a surrogate pair',
  email: 'must be an e-mail address',
  date: 'must be a date such as 2026-01-31',
  'date-time': 'must be a date and time such as 2026-01-31T09:30:00Z',
  instant: 'must be a date such as 2026-01-31, or with a time and offset such as 2026-01-31T09:30:00Z',
  uuid: 'must be a UUID',
  uri: 'must be an address such as https://example.com/',
}
// What a schema's own message is about: a length or a type speaks for itself.
const OWN_MESSAGE = new Set(['pattern', 'format'])
// As FastAPI names the places of a request.
const PLACES: Record<string, string> = { querystring: 'query', params: 'path', headers: 'header' }
const MAX_FAULTS = 20
// Somebody has to make room.
const MAKE_ROOM_SECONDS = 60

export type Failure = Error &
  Partial<Pick<FastifyError, 'code' | 'statusCode' | 'validation' | 'validationContext'>>

/** The problem that the client is sent for whatever was thrown. */
export function toHttpProblem(error: Failure): HttpProblem {
  if (error instanceof HttpProblem) return error
  if (error.validation) return validationFailed(faultsOf(error) as [Fault, ...Fault[]])
  const known = FRAMEWORK[error.code ?? '']
  if (known) return new HttpProblem(...known)
  const status = error.statusCode
  if (status && status >= 400 && status < 500) {
    return new HttpProblem(status, 'bad_request', 'The request cannot be understood.', { cause: error })
  }
  const violation = VIOLATIONS[sqlStateOf(error) ?? '']
  if (violation) return new HttpProblem(...violation, { cause: error })
  // Without Retry-After: to repeat it at once would do it twice.
  if (error instanceof OutcomeUnknownError) {
    const detail = 'It may have been done: look before you repeat it.'
    return new HttpProblem(503, 'outcome_unknown', detail, { cause: error.cause })
  }
  if (error instanceof StorageFullError) {
    return unavailable(
      'storage_full',
      'The database has no room left: nothing can be changed for now.',
      error,
      MAKE_ROOM_SECONDS,
    )
  }
  if (error instanceof OverloadedError) {
    return unavailable('busy', 'Too many requests wait for the database. Try again shortly.')
  }
  if (isPassingFault(error)) return databaseUnavailable(error)
  return new HttpProblem(
    500,
    'internal_error',
    'Something went wrong here. It is in the log under the request id.',
    { cause: error },
  )
}

/** A fault as Ajv reports it when it is verbose. */
type Found = NonNullable<Failure['validation']>[number] & {
  data?: unknown
  parentSchema?: { 'x-message'?: string; 'x-instead'?: Record<string, string> }
}

/** What is wrong with a query that would have been right in a body. */
function inQuery(keyword: string, value: unknown): string | undefined {
  if (Array.isArray(value)) return 'must be sent once'
  const isOffset = keyword === 'format' && /T.* \d\d:\d\d$/i.test(String(value))
  return isOffset ? 'must have its + as %2B: in a query + means a blank' : undefined
}

function faultsOf({ validation = [], validationContext = 'body' }: Failure): Fault[] {
  const found = (validation as Found[]).filter(
    ({ keyword, data }) =>
      keyword !== 'if' && // it repeats those of its `else`
      (validationContext !== 'querystring' || keyword !== 'enum' || !Array.isArray(data)), // said by its type
  )
  return found.slice(0, MAX_FAULTS).map(({ instancePath, keyword, params, parentSchema, data }) => {
    const field = params.missingProperty ?? params.additionalProperty
    const path = instancePath.split('/').slice(1)
    const names = parentSchema?.['x-instead'] ?? {}
    const sent = keyword === 'type' && Array.isArray(data) ? '[]' : String(field)
    const instead = Object.hasOwn(names, sent) && names[sent]
    const own = OWN_MESSAGE.has(keyword) ? parentSchema?.['x-message'] : undefined
    return {
      loc: [
        PLACES[validationContext] ?? validationContext,
        ...path,
        ...(field === undefined ? [] : [String(field)]),
      ],
      msg:
        (validationContext === 'querystring' ? inQuery(keyword, data) : undefined) ??
        own ??
        (MESSAGES[keyword]?.(params) ?? 'is not valid') + (instead ? `: use ${instead}` : ''),
      type: keyword,
    }
  })
}
