import fastifyCors from '@fastify/cors'
import fp from 'fastify-plugin'
import { parseOrigins } from '../src/origins.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The CORS headers for responses sent before any hook runs. */
    corsHeaders(origin: string | undefined): Record<string, string>
  }
}

const EXPOSED =
  'Location, Link, X-Total-Count, Retry-After, RateLimit-Limit, ' +
  'RateLimit-Remaining, RateLimit-Reset, X-Request-Id'

/** Lets pages from the origins of FRONTEND_URL call, with credentials (Fetch standard, 3.3). */
export default fp(
  async (app) => {
    const matches = parseOrigins(app.config.frontendUrl)
    const isAllowed = (origin: string | undefined) => origin !== undefined && matches(origin)

    await app.register(fastifyCors, {
      // A function, so that every answer has `Vary: Origin`, and an unlisted origin gets no other CORS header.
      origin: (origin, done) => done(null, isAllowed(origin)),
      credentials: true,
      methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
      // No allowedHeaders: what is asked for is granted. No header but Authorization carries authority here.
      exposedHeaders: EXPOSED,
      maxAge: 7200,
      strictPreflight: false,
    })

    app.decorate('corsHeaders', (origin): Record<string, string> => {
      if (!isAllowed(origin)) return { vary: 'Origin' }
      return {
        vary: 'Origin',
        'access-control-allow-origin': origin as string,
        'access-control-allow-credentials': 'true',
        'access-control-expose-headers': EXPOSED,
      }
    })
  },
  { name: 'cors', dependencies: ['env'] },
)
