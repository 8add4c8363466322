import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the service is shutting down: what was accepted is still answered. */
    isDraining(): boolean
  }
}

/** Lets go of connections while the service shuts down: one that is kept alive would hold the process. */
export default fp(
  async (app) => {
    let draining = false
    app.decorate('isDraining', () => draining)
    // The answer that is under way on a connection, from where node:http keeps it: with an onSend hook every request
    // would pay for the one shutdown. What comes later, Fastify answers with `Connection: close` itself.
    const connections = new Set<Socket & { _httpMessage?: ServerResponse | null }>()
    app.server.on('connection', (socket) => {
      connections.add(socket)
      socket.once('close', () => connections.delete(socket))
    })
    app.addHook('preClose', async () => {
      draining = true
      for (const { _httpMessage: response } of connections) {
        if (response && !response.headersSent) response.setHeader('connection', 'close')
      }
    })
  },
  { name: 'drain' },
)
