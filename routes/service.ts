import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import packageJson from '../package.json' with { type: 'json' }
import { response } from '../schemas/responses.ts'
import { Health, Readiness, Service } from '../schemas/service.ts'
import { unavailable } from '../src/problem.ts'

/** Public routes: name and version, whether the process is alive, whether it is ready. */
const service: FastifyPluginAsyncTypebox = async (app) => {
  const docs: Record<string, string> =
    app.config.DOCS === 'on' ? { docs: '/docs', openapi: '/openapi.json' } : {}
  const links = { tasks: '/todos', me: '/me', health: '/health', ready: '/ready', ...docs }
  const about = { name: packageJson.name, version: packageJson.version, links }

  app.get(
    '/',
    {
      schema: {
        operationId: 'getService',
        tags: ['service'],
        summary: 'Name, version and links',
        response: { 200: response(Service, 'Name, version and links') },
      },
    },
    async () => about,
  )

  app.get(
    '/health',
    {
      schema: {
        operationId: 'getHealth',
        tags: ['service'],
        summary: 'Whether the process is alive',
        response: { 200: response(Health, 'It is alive') },
      },
    },
    async () => ({ status: 'healthy' as const }),
  )

  app.get(
    '/ready',
    {
      schema: {
        operationId: 'getReadiness',
        tags: ['service'],
        summary:
          'Whether the database answers, takes writes and is migrated, and the service is not shutting down',
        response: { 200: response(Readiness, 'It is ready') },
        problems: [503],
      },
    },
    async () => {
      if (app.isDraining()) throw unavailable('draining', 'The service is shutting down.')
      await app.database.check()
      return {
        status: 'ready' as const,
        database: 'up' as const,
        limits: app.limits,
        row_level_security: app.database.rls ? ('on' as const) : ('off' as const),
      }
    },
  )
}

export default service
