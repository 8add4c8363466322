import fp from 'fastify-plugin'
import { ConfigError } from '../src/config.ts'
import type { Runner } from '../src/isolation/index.ts'
import { requestLogger } from '../src/log.ts'
import type { RequestTrace } from '../src/tracing.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The runner, with a span for each batch; undefined where there are no traces. */
    traced?: (runner: Runner) => Runner
  }
  interface FastifyRequest {
    /** Undefined where there are no traces. */
    trace?: RequestTrace
  }
}

/** Traces, where OTEL_EXPORTER_OTLP_ENDPOINT is set. Without it nothing is loaded, and no hook is added. */
export default fp(
  async (app) => {
    if (!app.config.OTEL_EXPORTER_OTLP_ENDPOINT) return
    const { startTracing } = await import('../src/tracing.ts').catch(refuseMissing)
    const tracing = startTracing((err) => {
      if (err) app.log.warn({ err }, 'traces cannot be sent: until they can, they are dropped')
      else app.log.info('traces can be sent again')
    })
    app.decorate('traced', tracing.traced)

    app.addHook('onRequest', (request, reply, done) => {
      request.trace = tracing.start(request)
      request.log = reply.log = requestLogger(request.log, request.trace.ids, {})
      request.trace.run(done)
    })
    // One that has waited for others on its connection (plugins/connections) goes on in the context of those.
    app.addHook('preValidation', (request, _reply, done) => request.trace?.run(done))
    app.addHook('onResponse', (request, { statusCode }, done) => {
      request.trace?.end(statusCode, request.problem?.code)
      done()
    })
    app.addHook('onRequestAbort', async ({ trace }) => trace?.end())
    app.addHook('onClose', () => tracing.close())
  },
  { name: 'tracing', dependencies: ['env'] },
)

/** Its packages are optional. */
function refuseMissing(error: NodeJS.ErrnoException): never {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
  throw new ConfigError([
    'OTEL_EXPORTER_OTLP_ENDPOINT needs optional packages, which are not installed: npm ci without --omit=optional',
  ])
}
