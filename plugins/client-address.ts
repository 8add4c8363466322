import { isIP } from 'node:net'
import fp from 'fastify-plugin'

/**
 * With CLIENT_IP_HEADER, `request.ip` is the address in that header instead of X-Forwarded-For. Fastify believes it only
 * from the proxies of TRUST_PROXY. Where it is not exactly one address, the connection's counts: that one no client can
 * choose, while X-Forwarded-For is what the operator has said not to rely on.
 */
export default fp(
  async (app) => {
    const { clientIpHeader } = app.config
    if (!clientIpHeader) return
    app.addHook('onRequest', ({ raw: { headers } }, _reply, done) => {
      const address = headers[clientIpHeader] // several lines of it are joined by commas
      headers['x-forwarded-for'] = typeof address === 'string' && isIP(address) ? address : ''
      done()
    })
  },
  { name: 'client-address', dependencies: ['env'] },
)
