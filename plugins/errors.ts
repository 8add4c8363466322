import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import pLimit from 'p-limit'
import type { Problem } from '../schemas/problem.ts'
import { type Failure, toHttpProblem } from '../src/failures.ts'
import { logRequest } from '../src/log.ts'
import { HttpProblem } from '../src/problem.ts'
import { requestId } from './request-id.ts'
import { SECURITY_HEADERS } from './security-headers.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** What went wrong, for the request's line in the log. */
    problem: { code: string; reason?: string } | null
  }
}

const LINGER_MS = 1_000
// A thousand slow clients that came at once are late at once: others have their turn in between.
const turns = pLimit(16)

const CLIENT_ERRORS: Record<string, HttpProblem> = {
  HPE_HEADER_OVERFLOW: new HttpProblem(
    431,
    'headers_too_large',
    'The address and the headers are too large together.',
  ),
  ERR_HTTP_REQUEST_TIMEOUT: new HttpProblem(408, 'request_timeout', 'The request did not arrive in time.'),
}

/** Writes every failure, from whatever layer, as one body: application/problem+json (RFC 9457). */
export default fp(
  async (app) => {
    app.decorateRequest('problem', null)
    app.setErrorHandler(sendProblem)
    app.server.on('checkExpectation', (request, response) => refuseExpectation(app, request, response))
  },
  { name: 'errors' },
)

function bodyOf({ statusCode, code, message, errors, hint }: HttpProblem, id: string): Problem {
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
    hint,
  }
}

function sendProblem(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error: Failure =
    thrown instanceof Error ? thrown : new Error('not an Error was thrown', { cause: thrown })
  const problem = toHttpProblem(error)
  const { cause, code, headers, statusCode } = problem
  request.problem = { code, ...(cause instanceof Error && statusCode < 500 && { reason: cause.message }) }
  // A refusal has no other reason than its code, and its stack would cost more than the rest of it.
  if (statusCode === 503) request.log.warn(cause ? { err: cause } : { code }, 'request failed')
  else if (statusCode >= 500) request.log.error({ err: cause ?? problem }, 'request failed')

  const body = bodyOf(problem, request.id)
  return reply
    .code(statusCode)
    .headers(headers)
    .header('cache-control', 'no-store')
    .type('application/problem+json; charset=utf-8')
    .send(JSON.stringify(body))
}

/** For requests that fail before any hook runs, such as a malformed URL: does what the hooks would have done. */
export function frameworkErrors(error: Failure, request: FastifyRequest, reply: FastifyReply): void {
  reply.headers({ ...SECURITY_HEADERS, 'x-request-id': request.id })
  for (const [name, value] of Object.entries(request.server.corsHeaders(request.headers.origin))) {
    reply.header(name, value)
  }
  sendProblem(error, request, reply)
  logRequest(request, reply)
}

/** For an Expect other than 100-continue (RFC 9110, 10.1.1), which node:http keeps from Fastify. */
function refuseExpectation(app: FastifyInstance, request: IncomingMessage, response: ServerResponse): void {
  const problem = new HttpProblem(417, 'expectation_failed', 'Of all expectations only 100-continue is met.')
  const { statusCode: status, code } = problem
  const id = requestId(request)
  const body = JSON.stringify(bodyOf(problem, id))
  app.log.info({ request_id: id, method: request.method, status, code }, 'request')
  response
    .writeHead(status, {
      ...SECURITY_HEADERS,
      ...app.corsHeaders(request.headers.origin),
      'cache-control': 'no-store',
      'content-type': 'application/problem+json; charset=utf-8',
      'content-length': Buffer.byteLength(body),
      'x-request-id': id,
      connection: 'close', // whatever body comes is not read
    })
    .end(body)
}

/** For input that is not HTTP or does not arrive in time: answers on the bare socket and closes it. */
export function clientErrorHandler(
  this: FastifyInstance,
  error: Error & { code?: string },
  socket: Socket,
): void {
  inTurn(() => refuse(this, error, socket))
}

function inTurn(act: () => void): void {
  void turns(async () => {
    act()
    await nextTurn()
  })
}

function refuse({ log }: FastifyInstance, error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const problem =
    CLIENT_ERRORS[error.code ?? ''] ?? new HttpProblem(400, 'malformed_request', 'This is not HTTP.')
  const id = requestId({ headers: {} })
  const body = JSON.stringify(bodyOf(problem, id))
  const { statusCode: status, code } = problem
  log.info({ request_id: id, status, code, reason: error.code }, 'request')
  // A client that keeps its half of the connection open would keep the socket for ever.
  setTimeout(inTurn, LINGER_MS, () => socket.destroy()).unref()
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
