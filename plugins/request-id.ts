import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import fp from 'fastify-plugin'
import { Problem } from '../src/problem.ts'

/** The caller's X-Request-Id where it is 1–128 characters that are safe anywhere, else a new UUID. */
export function requestId({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = headers['x-request-id']
  return typeof given === 'string' && /^[\w.:+/=@-]{1,128}$/.test(given) ? given : randomUUID()
}

/** Returns the request id with every answer, and logs the requests that did not wait for one. */
export default fp(
  async (app) => {
    app.addHook('onRequest', (request, reply, done) => {
      reply.header('x-request-id', request.id)
      done(hasOneHost(request.raw) ? undefined : oneHostNeeded())
    })
    app.addHook('onRequestAbort', async (request) => {
      const { method, url } = request
      request.log.info({ method, path: url.split('?', 1)[0], user_id: request.user?.id }, 'request aborted')
    })
  },
  { name: 'request-id' },
)

/** RFC 9112, 3.2: a request has one Host. node:http lets two pass, and answers none with an empty body. */
function hasOneHost({ rawHeaders, httpVersion }: IncomingMessage): boolean {
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1
  }
  return hosts === 1 || (hosts === 0 && httpVersion !== '1.1')
}

const oneHostNeeded = () => new Problem(400, 'malformed_request', 'A request needs one Host header.')
