import { STATUS_CODES } from 'node:http'
import type { FastifySchema } from 'fastify'
import { CODES, type Problem } from '../schemas/problem.ts'

/** What of an OpenAPI document is read or written here. */
export interface ApiDocument {
  tags?: { name: string }[]
  paths?: Record<string, Record<string, Operation>>
  components?: Record<string, unknown>
}
interface Operation {
  tags?: string[]
  deprecated?: boolean
  parameters?: { deprecated?: boolean; schema?: { deprecated?: boolean } }[]
  requestBody?: { required?: boolean }
  responses: Record<string, { $ref?: string; headers?: object }>
  'x-problems'?: number[]
  'x-optional-body'?: boolean
}

const DESCRIPTIONS: Record<number, string> = {
  400: 'The request is malformed. At sign-up also `email_taken`, and with a token `inactive_user`',
  401: 'No token, or one that is not accepted',
  403: 'Not for this user',
  404: 'There is no such thing for this user',
  408: 'The request did not arrive in time',
  409: 'It contradicts what is there',
  412: 'Its ETag is none of those in If-Match',
  413: 'The body is too large',
  414: 'A part of the path is too long',
  415: 'The body is not application/json, or is encoded',
  417: 'An `Expect` other than 100-continue',
  422: 'A value is missing, unknown or out of bounds: `detail` names the first fault, `errors` lists each',
  429: 'Too many requests: try again after Retry-After seconds',
  431: 'The headers are too large',
  500: 'A fault of the service, logged under the request id',
  503:
    'Something it needs is out of reach or overloaded: try again after Retry-After seconds. ' +
    'With `busy` others were in front: earlier requests of yours, long lists, sign-ins, or more than the database can serve. `detail` says which. ' +
    'Without Retry-After (`outcome_unknown`) a change may have been made: look before you repeat it',
}

const header = (type: string, description: string) => ({ description, schema: { type } })
const HEADERS = {
  'X-Request-Id': header('string', 'The one that was sent, or a new one. It is in the log'),
  'RateLimit-Limit': header('integer', 'Requests allowed in the window'),
  'RateLimit-Remaining': header('integer', 'Requests left in it'),
  'RateLimit-Reset': header('integer', 'Seconds until it ends'),
  'Retry-After': header('integer', 'Seconds to wait'),
  'WWW-Authenticate': header('string', 'RFC 6750 challenge'),
}
const headers = (...names: (keyof typeof HEADERS)[]) =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))

const EVERYWHERE = headers('X-Request-Id')
const LIMITS = headers('RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset')
const HEADERS_OF: Record<number, object> = {
  401: headers('WWW-Authenticate'),
  403: LIMITS,
  404: LIMITS,
  412: LIMITS,
  422: LIMITS,
  429: { ...LIMITS, ...headers('Retry-After') },
  503: headers('Retry-After'),
}

/** The statuses that an operation can fail with: its own, and those that follow from what it takes. */
export function problemsOf(method: string, url: string, schema: FastifySchema): number[] {
  const statuses = new Set([400, 408, 417, 422, 431, 500, ...(schema.problems ?? [])])
  const add = (...more: number[]) => more.forEach((status) => statuses.add(status))
  if (schema.security?.length) add(401, 403, 429, 503)
  if (method !== 'GET') add(413, 415)
  if (url.includes(':')) add(404, 414)
  return [...statuses].toSorted((a, b) => a - b)
}

/** What @fastify/swagger cannot write: one response per failure that all share, headers, bodies that may be left out, parameters
 * that are deprecated. */
export function finishDocument<T extends ApiDocument>(document: T): T {
  const responses: Record<string, object> = {}
  for (const operation of operationsOf(document)) {
    const { 'x-problems': problems = [], 'x-optional-body': isOptional = false } = operation
    for (const response of Object.values(operation.responses)) {
      response.headers = { ...response.headers, ...EVERYWHERE, ...(problems.includes(429) && LIMITS) }
    }
    for (const status of problems) {
      const name = (STATUS_CODES[status] as string).replaceAll(/\W/g, '')
      responses[name] ??= problemResponse(status)
      operation.responses[status] = { $ref: `#/components/responses/${name}` }
    }
    for (const parameter of operation.parameters ?? [])
      if (parameter.schema?.deprecated) parameter.deprecated = true
    if (operation.requestBody) operation.requestBody.required = !isOptional
    delete operation['x-problems']
    delete operation['x-optional-body']
  }
  document.components = { ...document.components, headers: HEADERS, responses }
  return document
}

/** The document for people: without aliases and headers, and with all failures of an operation in one place. */
export function forReaders<T extends ApiDocument>(document: T): T {
  const failure = { ...problemContent(Object.keys(CODES)), description: 'A failure, by its `code`' }
  document.components = { ...document.components, responses: { Failure: failure } }
  document.tags = document.tags?.filter(({ name }) => name !== 'aliases')
  for (const [path, operations] of Object.entries(document.paths ?? {})) {
    for (const [method, operation] of Object.entries(operations)) {
      if (operation.deprecated) delete operations[method]
      for (const [status, response] of Object.entries(operation.responses)) {
        if (Number(status) >= 400) delete operation.responses[status]
        delete response.headers
      }
      operation.responses.default = { $ref: '#/components/responses/Failure' }
    }
    if (Object.keys(operations).length === 0) delete document.paths?.[path]
  }
  return document
}

function operationsOf({ paths = {} }: ApiDocument): Operation[] {
  return Object.values(paths).flatMap((operations) => Object.values(operations))
}

function problemResponse(status: number): object {
  const codes = Object.entries(CODES).filter(([, [of]]) => of === status)
  return {
    description: DESCRIPTIONS[status] ?? STATUS_CODES[status],
    headers: { ...EVERYWHERE, ...HEADERS_OF[status] },
    ...problemContent(codes.map(([code]) => code)),
  }
}

function problemContent(codes: string[]) {
  const examples = Object.fromEntries(
    codes.flatMap((code) => {
      const [status, ...details] = CODES[code] as [number, ...string[]]
      // The names are for readers alone.
      return details.map((detail, i) => [
        i === 0 ? code : `${code}_${i + 1}`,
        { value: exampleOf(code, status, detail) },
      ])
    }),
  )
  return {
    content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' }, examples } },
  }
}

function exampleOf(code: string, status: number, detail: string): Problem {
  const title = STATUS_CODES[status] as string
  const [field, ...rest] = detail.replace(/ \(.*/, '').split(' ')
  return {
    title,
    status,
    detail,
    code,
    request_id: '7c2f1f0e-8d7a-4a53-9e0e-9d0ad1f6a8a1',
    error: title,
    status_code: status,
    ...(code === 'validation_failed' && {
      errors: [
        { loc: ['body', String(field)], msg: rest.join(' '), type: 'maxLength' },
        { loc: ['body', 'colour'], msg: 'is unknown', type: 'additionalProperties' },
      ],
    }),
    ...(status === 422 && code !== 'validation_failed' && { errors: [] }),
  }
}
