import type { ServerResponse } from 'node:http'
import { Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the service is shutting down: requests already accepted are still answered. */
    isDraining(): boolean
    /** The first step of a shutdown, before close(): /ready is 503 while all else goes on, so that proxies notice. */
    drain(): Promise<void>
  }
}

// What a proxy that checks /ready needs to send its requests elsewhere.
const LINGER_MS = 1_500
// What a client with a kept connection has to send one more request, which is answered with `Connection: close`.
const FAREWELL_MS = 500
// From close() on: no client holds the process for longer.
const CUT_AFTER_MS = 3_000

/**
 * Shuts down in steps. drain(): /ready is 503. close(): the port is closed; answers say `Connection: close`; then idle
 * connections are closed; last, those that are left are cut.
 */
export default fp(
  async (app) => {
    let draining = false
    app.decorate('isDraining', () => draining)
    app.decorate('drain', async () => {
      draining = true
      if (app.config.NODE_ENV === 'production') await sleep(LINGER_MS)
    })

    // The response under way on a connection, from where node:http keeps it (seen in Node.js 22 to 26): with an onSend
    // hook every request would pay for the one shutdown. Fastify itself closes after the requests that come later.
    const connections = new Set<Socket & { _httpMessage?: ServerResponse | null }>()
    app.server.on('connection', (socket) => {
      connections.add(socket)
      socket.once('close', () => connections.delete(socket))
    })
    app.addHook('preClose', async () => {
      draining = true
      if (!app.server.listening) return
      // Only the port, which http's own close() is not content with: it drops what idle connections have just sent.
      const closed = new Promise((resolve) => Server.prototype.close.call(app.server, resolve))
      for (const { _httpMessage: response } of connections) {
        if (response && !response.headersSent) response.setHeader('connection', 'close')
      }
      if (connections.size > 0) await Promise.race([closed, sleep(FAREWELL_MS)])
      app.server.closeIdleConnections()
      // Node.js takes a connection without a first request for a busy one.
      for (const socket of connections) if (socket.bytesRead === 0) socket.destroy()
      setTimeout(() => {
        for (const socket of connections) socket.destroy()
      }, CUT_AFTER_MS - FAREWELL_MS).unref()
      await closed
    })
  },
  // After the database, whose own hook must come before this one waits.
  { name: 'drain', dependencies: ['env', 'database'] },
)
