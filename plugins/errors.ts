import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import FindMyWay, { type HTTPMethod } from 'find-my-way'
import type { Problem as ProblemBody } from '../schemas/problem.ts'
import { databaseProblem } from '../src/database-faults.ts'
import { logRequest } from '../src/log.ts'
import { type Fault, Problem, validationFailed } from '../src/problem.ts'
import { requestId } from './request-id.ts'
import { SECURITY_HEADERS } from './security-headers.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** What went wrong, for the request's line in the log. */
    problem: { code: string; reason?: string } | null
  }
}

export interface ErrorsOptions {
  ignoreTrailingSlash: boolean
  maxParamLength: number
}

/** Writes every failure, from whatever layer, as one body: application/problem+json (RFC 9457). */
export default fp<ErrorsOptions>(
  async (app, options) => {
    app.decorateRequest('problem', null)
    app.setErrorHandler(sendProblem)

    // A second router, without handlers: it knows which methods a path has (RFC 9110, 15.5.6).
    const router = FindMyWay(options)
    const seen = new Set<string>()
    app.addHook('onRoute', ({ method, url }) => {
      for (const verb of [method].flat()) {
        const route = `${verb} ${url.replace(/(.)\/$/, '$1')}`
        if (verb === 'OPTIONS' || seen.has(route)) continue
        seen.add(route)
        router.on(verb as HTTPMethod, url, () => {})
      }
    })

    app.setNotFoundHandler(async (request, reply) => {
      const [path = '/'] = request.url.split('?', 1)
      const methods = METHODS.filter((method) => router.find(method, path))
      if (methods.length === 0 || methods.includes(request.method as HTTPMethod)) {
        throw new Problem(404, 'not_found', 'There is nothing at this path. The paths are listed at /.')
      }
      const allow = [...methods, 'OPTIONS'].join(', ')
      if (request.method === 'OPTIONS') return reply.code(204).header('allow', allow).send()
      throw new Problem(405, 'method_not_allowed', `This path takes ${methods.join(', ')}.`, {
        headers: { allow },
      })
    })
  },
  { name: 'errors' },
)

const METHODS: HTTPMethod[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

// Sentences of our own: what a library says never reaches a client.
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

// What Ajv finds, by keyword.
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

type Failure = Error & Partial<Pick<FastifyError, 'code' | 'statusCode' | 'validation' | 'validationContext'>>

function toProblem(error: Failure): Problem {
  if (error instanceof Problem) return error
  if (error.validation) return validationFailed(faultsOf(error))
  const known = FRAMEWORK[error.code ?? '']
  if (known) return new Problem(...known)
  const status = error.statusCode
  if (status && status >= 400 && status < 500) {
    return new Problem(status, 'bad_request', 'The request cannot be understood.', { cause: error })
  }
  const passing = databaseProblem(error)
  if (passing) return passing
  return new Problem(
    500,
    'internal_error',
    'Something went wrong here. It is in the log under the request id.',
    {
      cause: error,
    },
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

function bodyOf({ statusCode, code, message, errors }: Problem, id: string): ProblemBody {
  const title = STATUS_CODES[statusCode] ?? 'Error'
  return {
    title,
    status: statusCode,
    detail: message,
    code,
    request_id: id,
    error: title,
    status_code: statusCode,
    errors,
  }
}

function sendProblem(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error: Failure =
    thrown instanceof Error ? thrown : new Error('not an Error was thrown', { cause: thrown })
  const problem = toProblem(error)
  const { cause, code, headers, statusCode } = problem
  request.problem = { code, ...(cause instanceof Error && statusCode < 500 && { reason: cause.message }) }
  if (statusCode >= 500)
    request.log[statusCode === 503 ? 'warn' : 'error']({ err: cause ?? problem }, 'request failed')

  const body = bodyOf(problem, request.id)
  return reply
    .code(statusCode)
    .headers(headers)
    .header('cache-control', 'no-store')
    .type('application/problem+json; charset=utf-8')
    .send(JSON.stringify(body))
}

/** For what fails before any hook runs, such as a malformed address: does what the hooks would have done. */
export function frameworkErrors(error: Failure, request: FastifyRequest, reply: FastifyReply): void {
  reply.headers({ ...SECURITY_HEADERS, 'x-request-id': request.id })
  for (const [name, value] of Object.entries(request.server.corsHeaders(request.headers.origin))) {
    reply.header(name, value)
  }
  sendProblem(error, request, reply)
  logRequest(request, reply)
}

/** For what is not HTTP, or does not come in time: answers on the bare socket and closes it. */
export function clientErrorHandler(
  this: FastifyInstance,
  error: Error & { code?: string },
  socket: Socket,
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const problem =
    CLIENT_ERRORS[error.code ?? ''] ?? new Problem(400, 'malformed_request', 'This is not HTTP.')
  const id = requestId({ headers: {} })
  const body = JSON.stringify(bodyOf(problem, id))
  const { statusCode: status, code } = problem
  this.log.info({ request_id: id, status, code, reason: error.code }, 'request')
  socket.end(
    [
      `HTTP/1.1 ${problem.statusCode} ${STATUS_CODES[problem.statusCode]}`,
      'Content-Type: application/problem+json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(body)}`,
      `X-Request-Id: ${id}`,
      'Vary: Origin',
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  )
}

const CLIENT_ERRORS: Record<string, Problem> = {
  HPE_HEADER_OVERFLOW: new Problem(
    431,
    'headers_too_large',
    'The address and the headers are too large together.',
  ),
  ERR_HTTP_REQUEST_TIMEOUT: new Problem(408, 'request_timeout', 'The request did not arrive in time.'),
}
