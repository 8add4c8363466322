import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the service is shutting down: requests already accepted are still answered. */
    isDraining(): boolean
  }
}

// A proxy that checks /ready needs this long to send its requests elsewhere. Until then the service goes on listening.
const LINGER_MS = 1_500
// From the signal on: after this time no client can hold the process any longer.
const CUT_AFTER_MS = 5_000

/**
 * Shuts down in steps. First /ready is 503 and every answer says `Connection: close`, while the service still listens
 * (in production); then it closes its port and its idle connections; last, it cuts the connections that are left.
 */
export default fp(
  async (app) => {
    let draining = false
    app.decorate('isDraining', () => draining)
    // The response under way on a connection, from where node:http keeps it (seen in Node.js 22 to 26): with an onSend
    // hook every request would pay for the one shutdown. Fastify itself closes after the requests that come later.
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
      setTimeout(() => {
        for (const socket of connections) socket.destroy()
      }, CUT_AFTER_MS).unref()
      if (app.config.NODE_ENV === 'production' && app.server.listening) await sleep(LINGER_MS)
      // Node.js takes a connection without a first request for a busy one.
      for (const socket of connections) if (socket.bytesRead === 0) socket.destroy()
    })
  },
  { name: 'drain', dependencies: ['env'] },
)
