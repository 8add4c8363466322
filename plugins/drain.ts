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
    app.addHook('preClose', async () => {
      draining = true
    })
    app.addHook('onSend', (_request, reply, _payload, done) => {
      if (draining) reply.header('connection', 'close')
      done()
    })
  },
  { name: 'drain' },
)
