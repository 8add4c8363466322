import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger } from 'fastify'
import accounts from '../plugins/accounts.ts'
import cors from '../plugins/cors.ts'
import database from '../plugins/database.ts'
import docs from '../plugins/docs.ts'
import drain from '../plugins/drain.ts'
import env, { type Config } from '../plugins/env.ts'
import errors, { clientErrorHandler, frameworkErrors } from '../plugins/errors.ts'
import jwt from '../plugins/jwt.ts'
import rateLimit from '../plugins/rate-limit.ts'
import requestIds, { requestId } from '../plugins/request-id.ts'
import securityHeaders from '../plugins/security-headers.ts'
import validation from '../plugins/validation.ts'
import auth from '../routes/auth.ts'
import me from '../routes/me.ts'
import service from '../routes/service.ts'
import tasks from '../routes/tasks.ts'
import type { Database } from './database.ts'
import { createLogger, RequestLog, requestLogger } from './log.ts'

export interface AppOptions {
  /** The environment: schemas/env.ts says what of it is read. */
  env: Record<string, string | undefined>
  /** An open database to use instead of DATABASE_URL; it stays open when the app closes. */
  database?: Database
  /** Where the log goes. Default: JSON to standard output. */
  logger?: FastifyBaseLogger
}

const BODY_LIMIT_BYTES = 64 * 1024
const REQUEST_TIMEOUT_MS = 15_000
// Longer than the proxies in front keep a connection, so that they never write to one that is just being closed.
const KEEP_ALIVE_TIMEOUT_MS = 72_000

// Where the task routes are mounted.
const TASK_PREFIXES = [
  { prefix: '/api/:user_id/tasks' },
  { prefix: '/todos' },
  { prefix: '/api/user/:user_id/tasks', alias: true },
  { prefix: '/api/tasks', alias: true },
]

/**
 * The whole service, not yet listening.
 * @throws ConfigError if the environment cannot be used
 */
export async function buildApp({ env: variables, database: db, logger = createLogger() }: AppOptions) {
  const router = { ignoreTrailingSlash: true, maxParamLength: 2048 }
  let isTrustedProxy: Config['isTrustedProxy'] = () => false // until TRUST_PROXY is read
  const app = Fastify({
    loggerInstance: logger,
    logController: new RequestLog(),
    genReqId: requestId,
    childLoggerFactory: requestLogger,
    bodyLimit: BODY_LIMIT_BYTES,
    http: { requireHostHeader: false }, // plugins/request-id asks for it, with an answer like any other
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    return503OnClosing: false, // what was accepted is answered
    trustProxy: (address, hop) => isTrustedProxy(address, hop),
    routerOptions: router,
    frameworkErrors,
    clientErrorHandler,
  }).withTypeProvider<TypeBoxTypeProvider>()

  await app.register(errors, router)
  await app.register(drain)
  await app.register(env, { env: variables })
  isTrustedProxy = app.config.isTrustedProxy
  await app.register(requestIds)
  await app.register(securityHeaders)
  await app.register(cors)
  await app.register(validation)
  await app.register(docs)
  await app.register(rateLimit)
  await app.register(jwt)
  await app.register(database, { database: db })
  await app.register(accounts)

  await app.register(service)
  await app.register(auth)
  await app.register(me)
  for (const mount of TASK_PREFIXES) await app.register(tasks, mount)
  return app
}
