import { createHash, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import fp from 'fastify-plugin'
import { routePattern } from '../src/route-pattern.ts'
import { invalidToken, readCredential } from '../src/tokens/index.ts'

/** GET /metrics, for Prometheus, where METRICS_TOKEN is set. Without it nothing is loaded, and nothing counted. */
export default fp(
  async (app) => {
    const { METRICS_TOKEN } = app.config
    if (!METRICS_TOKEN) return
    const { createMetrics } = await import('../src/metrics.ts')
    const metrics = createMetrics({
      database: () => app.database.state(),
      connections: promisify(app.server.getConnections.bind(app.server)),
      keyFetches: () => app.keySet?.fetches(),
      limitRefusals: () => app.limitRefusals,
      limits: () => app.limits,
      isolationFailures: () => app.database.isolationFailures(),
    })

    // Before any route: a hook that is added later misses those of /docs.
    app.addHook('onResponse', (request, { statusCode, elapsedTime }, done) => {
      metrics.countAnswer({
        method: request.method,
        route: routePattern(request),
        status: statusCode,
        seconds: elapsedTime / 1000,
        code: request.problem?.code,
        accepted: Boolean(request.user),
      })
      done()
    })
    app.addHook('onRequestAbort', async (request) => {
      metrics.countAbort(request.method, routePattern(request))
    })

    const expected = digest(METRICS_TOKEN)
    app.get('/metrics', { schema: { hide: true }, onSend: app.gzip }, async ({ headers }, reply) => {
      const token = readCredential(
        headers.authorization ? [headers.authorization] : [],
        'Send METRICS_TOKEN.',
      )
      if (!timingSafeEqual(digest(token), expected)) throw wrongToken()
      reply.header('cache-control', 'no-store').type(metrics.contentType)
      return metrics.text()
    })
  },
  { name: 'metrics', dependencies: ['env', 'not-found', 'compress'] },
)

// Digests have one length, which timingSafeEqual() needs.
const digest = (token: string): Buffer => createHash('sha256').update(token).digest()

const wrongToken = () =>
  invalidToken({ rule: 'credential', what: 'The token', actual: 'another one', expected: 'METRICS_TOKEN' })
