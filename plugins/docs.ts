import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import packageJson from '../package.json' with { type: 'json' }
import { Problem } from '../schemas/problem.ts'
import { finishDocument, forReaders, problemsOf } from '../src/document.ts'

declare module 'fastify' {
  interface FastifySchema {
    /** The statuses that the route may fail with, besides those that follow from what it takes: for the document. */
    problems?: readonly number[]
    /** Whether a request may come without its body: for the document. */
    optionalBody?: boolean
  }
}

// No bar with the address of the document, and nothing wider than a phone.
const THEME = `.swagger-ui .topbar, .swagger-ui table.parameters tr:has(.parameter__deprecated:not(:empty)) { display: none }
.swagger-ui table.parameters tr td:first-of-type { padding: 4px 0 }
@media (max-width: 640px) {
  .swagger-ui .wrapper { padding: 0 10px }
  .swagger-ui .opblock .opblock-summary { flex-wrap: wrap }
  .swagger-ui .opblock .opblock-summary-description { display: none }
  .swagger-ui table.parameters, .swagger-ui table.parameters :is(tbody, tr, td) { display: block; width: auto }
  .swagger-ui table.parameters thead { display: none }
}`

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
            'Every failure is `application/problem+json`; its `code` is stable. ' +
            'A query parameter that an operation does not know is 422, unless its name begins with `_`. ' +
            'A method that a path does not take is 405, with `Allow`. ' +
            'The whole document, with every status, header and alias, is at [/openapi.json](/openapi.json).',
          license: { name: 'MIT', identifier: 'MIT' },
        },
        servers: [{ url: '/', description: 'Where this document comes from' }],
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
      transform: ({ schema = {}, url, route }) => {
        const { problems: _, optionalBody = false, ...rest } = schema
        const method = [route.method].flat()[0] as string
        const documented = {
          operationId: `${method.toLowerCase()}${url.replaceAll(/\W+(\w?)/g, (_, letter) => letter.toUpperCase())}`,
          security: [],
          ...rest,
          deprecated: schema.tags?.includes('aliases') ?? false,
          'x-problems': problemsOf(method, url, schema),
          'x-optional-body': optionalBody,
        }
        return { url, schema: documented }
      },
      transformObject: (document) =>
        'openapiObject' in document
          ? finishDocument(document.openapiObject as object)
          : document.swaggerObject,
      refResolver: {
        buildLocalReference: (json, _baseUri, _fragment, i) => String(json.title ?? json.$id ?? `def-${i}`),
      },
    })

    await app.register(async (docs) => {
      docs.addHook('onSend', forPhones)
      docs.addHook('onSend', app.gzipOnce)
      let text: string | undefined
      docs.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
        reply.type('application/json; charset=utf-8')
        return (text ??= JSON.stringify(app.swagger()))
      })
      await docs.register(swaggerUi, {
        routePrefix: '/docs',
        uiConfig: {
          persistAuthorization: true,
          tryItOutEnabled: true,
          validatorUrl: null,
          defaultModelsExpandDepth: 0,
        },
        transformSpecification: (document) => forReaders(document),
        theme: { title: packageJson.name, css: [{ filename: 'theme.css', content: THEME }] },
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
    })
  },
  { name: 'docs', dependencies: ['env', 'compress'] },
)

/** @fastify/swagger-ui writes a page for wide windows only. */
async function forPhones(_request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
  if (typeof payload !== 'string' || !String(reply.getHeader('content-type')).startsWith('text/html'))
    return payload
  return payload.replace(
    '<head>',
    '<head>\n<meta name="viewport" content="width=device-width, initial-scale=1">',
  )
}
