import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import fp from 'fastify-plugin'

/** The caller's X-Request-Id where it is 1–128 characters that are safe anywhere, else a new UUID. */
export function requestId({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = headers['x-request-id']
  return typeof given === 'string' && /^[\w.:+/=@-]{1,128}$/.test(given) ? given : randomUUID()
}

/** Returns the request id with every answer, and logs requests whose client hung up. */
export default fp(
  async (app) => {
    app.addHook('onRequest', (request, reply, done) => {
      reply.header('x-request-id', request.id)
      done()
    })
    app.addHook('onRequestAbort', async (request) => {
      const { method, url } = request
      request.log.info({ method, path: url.split('?', 1)[0], user_id: request.user?.id }, 'request aborted')
    })
  },
  { name: 'request-id' },
)
