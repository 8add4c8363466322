import fastifyCors from '@fastify/cors'
import fp from 'fastify-plugin'
import { isLoopbackOrigin, parseOrigins, refusedOrigins } from '../src/origins.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The CORS headers for responses sent before any hook runs. */
    corsHeaders(origin: string | undefined): Record<string, string>
  }
}

const EXPOSED =
  'Location, Link, ETag, Idempotency-Replayed, X-Total-Count, Retry-After, RateLimit-Limit, ' +
  'RateLimit-Remaining, RateLimit-Reset, X-Request-Id'

/** Lets pages from the origins of FRONTEND_URL call, with credentials (Fetch standard, 3.3). */
export default fp(
  async (app) => {
    const { frontendUrl, NODE_ENV, FRONTEND_URL, ALLOWED_ORIGINS } = app.config
    const isListed = parseOrigins(frontendUrl)
    // Front ends in development change ports.
    const matches = (origin: string) =>
      isListed(origin) || (NODE_ENV === 'development' && isLoopbackOrigin(origin))
    const isAllowed = (origin: string | undefined) => origin !== undefined && matches(origin)

    const variable = !FRONTEND_URL && ALLOWED_ORIGINS ? 'ALLOWED_ORIGINS' : 'FRONTEND_URL'
    const reportRefused = refusedOrigins(variable, isListed, (sentence) => app.log.warn(sentence))
    // Before the hook that answers preflights.
    app.addHook('onRequest', (request, _reply, done) => {
      const { origin } = request.headers
      // Browsers name the origin of the service's own pages as well, and need no permission for them.
      if (origin !== undefined && !matches(origin) && URL.parse(origin)?.host !== request.host)
        reportRefused(origin)
      done()
    })

    await app.register(fastifyCors, {
      // A function, so that every answer has `Vary: Origin`, and an unlisted origin gets no other CORS header.
      origin: (origin, done) => done(null, isAllowed(origin)),
      credentials: true,
      methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
      // No allowedHeaders: the requested headers are allowed. No header but Authorization carries authority here.
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
