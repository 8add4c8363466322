import type { IncomingMessage } from 'node:http'
import fp from 'fastify-plugin'
import { HttpProblem } from '../src/problem.ts'

/** Refuses a request without exactly one Host header. */
export default fp(
  async (app) => {
    app.addHook('onRequest', (request, _reply, done) => {
      done(hasOneHost(request.raw) ? undefined : oneHostNeeded())
    })
  },
  { name: 'host', dependencies: ['errors', 'request-id'] },
)

/**
 * RFC 9112, 3.2: a request has one Host header. node:http accepts two, and answers a missing one with an empty body.
 */
function hasOneHost({ rawHeaders, httpVersion }: IncomingMessage): boolean {
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1
  }
  return hosts === 1 || (hosts === 0 && httpVersion !== '1.1')
}

const oneHostNeeded = () => new HttpProblem(400, 'malformed_request', 'A request needs one Host header.')
