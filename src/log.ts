import { type FastifyBaseLogger, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import {
  type Bindings,
  type ChildLoggerOptions,
  type DestinationStream,
  destination,
  type Logger,
  pino,
  stdTimeFunctions,
} from 'pino'

const PRIVATE = ['authorization', 'cookie', 'password', 'secret', 'token']

/**
 * The service's log: one JSON object a line, in ASCII. Whatever is not ASCII is written as \u escapes, which every
 * JSON reader turns back, so that no console or collector can spoil it.
 *
 * @param stream where lines go; default standard output
 */
export function createLogger(stream: DestinationStream = standardOutput()): Logger {
  return pino(
    {
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: ['', '*.', '*.*.', '*.*.*.'].flatMap((depth) => PRIVATE.map((name) => depth + name)),
    },
    { write: (line) => stream.write(toAscii(line)) },
  )
}

/** Written in the background, so that a slow reader does not hold up requests; the rest when the process ends. */
function standardOutput(): DestinationStream {
  // Lines go out in chunks that a pipe takes whole (PIPE_BUF), so that those of several processes do not mix.
  const stream = destination({ dest: 1, sync: false, maxWrite: 4096 })
  process.on('exit', () => stream.flushSync())
  return stream
}

function toAscii(line: string): string {
  return line.replaceAll(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/**
 * The logger of one request, with its id in every line. What pino's child() does, but it does not search the id for
 * secrets, which would take longer than all else about a logger that most requests never use.
 */
export function requestLogger(
  logger: FastifyBaseLogger,
  bindings: Bindings,
  options: ChildLoggerOptions,
): FastifyBaseLogger {
  const { chindingsSym } = pino.symbols
  // A route with a level or serializers of its own, or a logger that is not pino's, takes the long way.
  if (options.level || options.serializers || !(chindingsSym in logger))
    return logger.child(bindings, options)
  const child = Object.create(logger)
  child[chindingsSym] += `,${JSON.stringify(bindings).slice(1, -1)}`
  return child
}

/** Logs each request in one line when it is answered, and nothing else. */
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
    // Searching a line for secrets costs more than all the rest of it, and this one has none: logRequest() makes it.
    this.#lines ??= request.server.log.child({}, { redact: [] })
    logRequest(request, reply, undefined, this.#lines)
  }
}

/** The line of an answered request. The path goes without its query, which may hold what is private. */
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
      ...request.problem,
      err,
    },
    'request',
  )
}
