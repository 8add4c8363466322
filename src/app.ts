import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger } from 'fastify'
import accounts from '../plugins/accounts.ts'
import clientAddress from '../plugins/client-address.ts'
import compress from '../plugins/compress.ts'
import concurrency from '../plugins/concurrency.ts'
import connections from '../plugins/connections.ts'
import cors from '../plugins/cors.ts'
import database from '../plugins/database.ts'
import docs from '../plugins/docs.ts'
import drain from '../plugins/drain.ts'
import env from '../plugins/env.ts'
import errors, { clientErrorHandler, frameworkErrors } from '../plugins/errors.ts'
import host from '../plugins/host.ts'
import json from '../plugins/json.ts'
import jwt from '../plugins/jwt.ts'
import metrics from '../plugins/metrics.ts'
import notFound from '../plugins/not-found.ts'
import rateLimit from '../plugins/rate-limit.ts'
import requestIds, { requestId } from '../plugins/request-id.ts'
import schemas, { schemaCompilers } from '../plugins/schemas.ts'
import securityHeaders from '../plugins/security-headers.ts'
import tracing from '../plugins/tracing.ts'
import accountRoutes from '../routes/accounts.ts'
import manyTasks from '../routes/many-tasks.ts'
import me from '../routes/me.ts'
import service from '../routes/service.ts'
import tasks from '../routes/tasks.ts'
import userStats from '../routes/user-stats.ts'
import type { Variables } from './config.ts'
import type { Database } from './database/index.ts'
import { createLogger, RequestLog, requestLogger } from './log.ts'

export interface AppOptions {
  /** The environment; schemas/env.ts lists the variables that are read. */
  env: Variables
  /** An open, migrated database to use instead of DATABASE_URL; it stays open when the app closes. */
  database?: Database
  /** Where the log goes. Default: JSON to standard output. */
  logger?: FastifyBaseLogger
}

const BODY_LIMIT_BYTES = 64 * 1024
// A thousand ids of 16 digits in the address, even with each comma as %2C, and the longest token.
const HEADERS_LIMIT_BYTES = 32 * 1024
const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 15_000
const TIMEOUT_CHECK_MS = 500
// Longer than the proxies in front keep a connection, so that they never write to one that is just being closed.
const KEEP_ALIVE_TIMEOUT_MS = 72_000

// Where the task routes are mounted.
const TASK_PREFIXES = [
  { prefix: '/todos' },
  { prefix: '/api/:user_id/tasks', idSuffix: 'Of' },
  { prefix: '/api/user/:user_id/tasks', idSuffix: 'OfUser', alias: true },
  { prefix: '/api/tasks', idSuffix: 'AtApiTasks', alias: true },
  { prefix: '/api/todos', idSuffix: 'AtApiTodos', alias: true },
  { prefix: '/tasks', idSuffix: 'AtTasks', alias: true },
  { prefix: '/api/v1/tasks', idSuffix: 'OfFirstVersion', alias: true },
  { prefix: '/v1/:user_id/tasks', idSuffix: 'OfUserOfFirstVersion', alias: true },
]

/**
 * The whole service, not yet listening.
 * @throws ConfigError if the environment cannot be used
 */
export async function buildApp({ env: variables, database: db, logger = createLogger() }: AppOptions) {
  const router = { ignoreTrailingSlash: true, maxParamLength: 2048 }
  const app = Fastify({
    loggerInstance: logger,
    logController: new RequestLog(),
    genReqId: requestId,
    childLoggerFactory: requestLogger,
    bodyLimit: BODY_LIMIT_BYTES,
    http: {
      requireHostHeader: false, // checked in plugins/host, so that the 400 has our body
      maxHeaderSize: HEADERS_LIMIT_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS, // Node.js swaps it with requestTimeout where it is the longer one
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    },
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    return503OnClosing: false, // requests already accepted are still answered while draining
    trustProxy: (address: string, hop: number): boolean => app.config.isTrustedProxy(address, hop),
    routerOptions: router,
    schemaController: { compilersFactory: schemaCompilers() },
    frameworkErrors,
    clientErrorHandler,
  }).withTypeProvider<TypeBoxTypeProvider>()

  await app.register(errors)
  await app.register(notFound, router)
  await app.register(env, { env: variables })
  await app.register(tracing)
  await app.register(requestIds)
  await app.register(clientAddress)
  await app.register(host)
  await app.register(securityHeaders)
  await app.register(cors)
  await app.register(connections)
  await app.register(json)
  await app.register(schemas)
  await app.register(compress)
  await app.register(metrics)
  await app.register(docs)
  await app.register(rateLimit)
  await app.register(concurrency)
  await app.register(jwt)
  await app.register(database, { database: db })
  await app.register(accounts)
  await app.register(drain)

  await app.register(service)
  await app.register(accountRoutes)
  await app.register(me)
  for (const mount of TASK_PREFIXES) {
    await app.register(tasks, mount)
    await app.register(manyTasks, mount)
  }
  await app.register(userStats, { prefix: '/api/:user_id', alias: true })
  return app
}
