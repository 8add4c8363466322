import fastifyRateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { Redis } from 'ioredis'
import packageJson from '../package.json' with { type: 'json' }
import { HttpProblem } from '../src/problem.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Counts a request of `request.user`, from whatever address. Throws 429. */
    limitUser: onRequestAsyncHookHandler
    /** Counts a sign-in, sign-up or refresh of an address; an IPv6 one as its /64 network. Throws 429. */
    limitAddress: onRequestAsyncHookHandler
    /** The same for a token that was refused. */
    limitFailures: onRequestAsyncHookHandler
    /** Where requests are counted: in this instance, or in the Redis that several share. */
    limits: 'local' | 'shared' | 'redis_down'
  }
}

// Beyond this many, the least recently used keys are forgotten, so that memory stays flat.
const KEYS_IN_MEMORY = 50_000

/** Limits how often users and addresses call, with the headers RateLimit-* (draft) and Retry-After. */
export default fp(
  async (app) => {
    const { RATE_LIMIT_MAX, AUTH_RATE_LIMIT_MAX, RATE_LIMIT_WINDOW, REDIS_URL } = app.config
    const redis = REDIS_URL ? connect(REDIS_URL) : undefined

    await app.register(fastifyRateLimit, {
      global: false,
      timeWindow: RATE_LIMIT_WINDOW * 1000,
      enableDraftSpec: true,
      redis,
      nameSpace: `${packageJson.name}-limit-`,
      skipOnError: true, // Redis down: requests pass
      errorResponseBuilder: (_request, { ttl }) =>
        new HttpProblem(
          429,
          'too_many_requests',
          `Too many requests. Try again in ${Math.ceil(ttl / 1000)} seconds.`,
        ),
    })

    const ofAddress = (purpose: string) => (request: FastifyRequest) =>
      `${purpose}:${normalizeIP(request.ip, 64)}`
    const limit = (max: number, keyGenerator: (request: FastifyRequest) => string) =>
      app.rateLimit({ max, keyGenerator, cache: KEYS_IN_MEMORY }) as unknown as onRequestAsyncHookHandler
    app.decorate(
      'limitUser',
      limit(RATE_LIMIT_MAX, ({ user }) => `user:${user.id}`),
    )
    app.decorate('limitAddress', limit(AUTH_RATE_LIMIT_MAX, ofAddress('sign-in')))
    app.decorate('limitFailures', limit(AUTH_RATE_LIMIT_MAX, ofAddress('refused')))
    app.decorate('limits', {
      getter: () => (redis ? (redis.status === 'ready' ? 'shared' : 'redis_down') : 'local'),
    })

    function connect(url: string): Redis {
      const client = new Redis(url, {
        connectTimeout: 1000,
        commandTimeout: 500,
        socketTimeout: 1000, // also gives up on a server that accepts connections but does not answer
        maxRetriesPerRequest: 0,
        enableOfflineQueue: false,
        retryStrategy: (times) => Math.min(times * 200, 5000),
      })
      let warned = false
      client.on('error', (err) => {
        if (!warned) app.log.warn({ err }, 'Redis does not answer: until it does, requests are not limited')
        warned = true
      })
      client.on('ready', () => {
        if (warned) app.log.info('Redis answers again')
        warned = false
      })
      app.addHook('onClose', async () => client.disconnect())
      return client
    }
  },
  { name: 'rate-limit', dependencies: ['env'] },
)
