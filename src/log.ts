import { type FastifyBaseLogger, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import {
  type Bindings,
  type ChildLoggerOptions,
  type DestinationStream,
  type Logger,
  pino,
  stdTimeFunctions,
} from 'pino'
import { StandardOutput } from './standard-output.ts'

const PRIVATE = ['authorization', 'cookie', 'password', 'secret', 'token']

/**
 * The service's log: one JSON object per line, in ASCII. Other characters are written as \u escapes, which every JSON
 * parser decodes, so that no console or collector can garble them.
 *
 * @param stream where lines go; default standard output
 */
export function createLogger(stream?: DestinationStream): Logger {
  const output = stream ?? new StandardOutput(reportGap)
  const logger = pino(
    {
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: ['', '*.', '*.*.', '*.*.*.'].flatMap((depth) => PRIVATE.map((name) => depth + name)),
    },
    { write: (line) => output.write(toAscii(line)) },
  )
  function reportGap(dropped: number): void {
    logger.warn({ dropped }, 'lines of this log could not be written, and were dropped')
  }
  return logger
}

function toAscii(line: string): string {
  return line.replaceAll(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/**
 * The logger of one request, with its id in every line. Like pino's child(), but the id is not searched for secrets:
 * that is most of the cost of a logger that most requests never use.
 */
export function requestLogger(
  logger: FastifyBaseLogger,
  bindings: Bindings,
  options: ChildLoggerOptions,
): FastifyBaseLogger {
  const { chindingsSym } = pino.symbols
  // A route with its own level or serializers, or a logger other than pino, needs the real child().
  if (options.level || options.serializers || !(chindingsSym in logger))
    return logger.child(bindings, options)
  const child = Object.create(logger)
  child[chindingsSym] += `,${JSON.stringify(bindings).slice(1, -1)}`
  return child
}

/** Logs one line for each request, when it is answered, and nothing else. */
export class RequestLog extends LogController {
  #lines: FastifyBaseLogger | undefined

  constructor() {
    super({ requestIdLogLabel: 'request_id' })
  }

  override incomingRequest(): void {}

  override routeNotFound(): void {}

  override requestCompleted(
    error: Error | null | undefined,
    request: FastifyRequest,
    reply: FastifyReply,
  ): void {
    if (error) return logRequest(request, reply, error)
    // Redaction is most of a line's cost, and logRequest() builds this line from fields that hold no secret.
    this.#lines ??= request.server.log.child({}, { redact: [] })
    logRequest(request, reply, undefined, this.#lines)
  }
}

/** The line of an answered request. The path is logged without its query, which may hold private data. */
export function logRequest(
  request: FastifyRequest,
  reply: FastifyReply,
  err?: Error,
  log: FastifyBaseLogger = request.server.log,
): void {
  log.info(
    {
      request_id: request.id,
      method: request.method,
      path: request.url.split('?', 1)[0],
      status: reply.statusCode,
      user_id: request.user?.id,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      ...request.trace?.ids,
      ...request.problem,
      err,
    },
    'request',
  )
}
