import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fp from 'fastify-plugin'
import packageJson from '../package.json' with { type: 'json' }
import { Problem, problemResponses } from '../schemas/problem.ts'

declare module 'fastify' {
  interface FastifySchema {
    /** The statuses that the route may fail with, for the document. */
    problems?: readonly number[]
  }
}

/** OpenAPI 3.1 at /openapi.json, written from the routes' schemas, and Swagger UI at /docs. */
export default fp(
  async (app) => {
    if (app.config.DOCS === 'off') return

    app.addSchema(Problem)
    await app.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title: packageJson.name,
          version: packageJson.version,
          description:
            'Tasks for users who sign in with Better Auth. Paste a token under **Authorize**. ' +
            'Every failure is `application/problem+json`; its `code` is stable.',
          license: { name: 'MIT', identifier: 'MIT' },
        },
        tags: [
          { name: 'tasks', description: 'The tasks of the signed-in user' },
          { name: 'user', description: 'The signed-in user' },
          { name: 'accounts', description: 'Local accounts, for deployments without Better Auth' },
          { name: 'service', description: 'Public' },
          { name: 'aliases', description: 'Other paths of the same handlers, for older front ends' },
        ],
        components: {
          securitySchemes: {
            bearer: {
              type: 'http',
              scheme: 'bearer',
              bearerFormat: 'JWT',
              description: 'Only the token, without the word Bearer.',
            },
          },
        },
      },
      transform: ({ schema, url }) => {
        const { problems = [], response, ...rest } = schema ?? {}
        return {
          url,
          schema: { ...rest, response: { ...(response as object), ...problemResponses(problems) } },
        }
      },
      refResolver: {
        buildLocalReference: (json, _baseUri, _fragment, i) => String(json.title ?? json.$id ?? `def-${i}`),
      },
    })

    await app.register(swaggerUi, {
      routePrefix: '/docs',
      uiConfig: { persistAuthorization: true, tryItOutEnabled: true, validatorUrl: null },
      theme: { title: packageJson.name },
      logo: { type: 'image/svg+xml', content: '<svg xmlns="http://www.w3.org/2000/svg"/>' },
      staticCSP: [
        "default-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "style-src 'self' 'unsafe-inline'", // Swagger UI brings its own styles
        `script-src 'self' ${app.swaggerCSP?.script.join(' ') ?? ''}`,
      ].join('; '),
    })
    app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  },
  { name: 'docs', dependencies: ['env'] },
)
