import fastifyRateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import type { Redis } from 'ioredis'
import packageJson from '../package.json' with { type: 'json' }
import { HttpProblem } from '../src/problem.ts'
import { inTime, openRedis } from '../src/redis.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Counts a request of `request.user`, from whatever address. Throws 429. */
    limitUser: onRequestAsyncHookHandler
    /** Counts a sign-in, sign-up or refresh of an address; an IPv6 one as its /64 network. Throws 429. */
    limitAddress: onRequestAsyncHookHandler
    /** The same for a token that was refused. */
    limitFailures: onRequestAsyncHookHandler
    /** Where requests are counted: in the Redis that several share, or in this instance: for good, or while Redis fails. */
    limits: 'local' | 'shared' | 'redis_down'
    /** How many requests each limit has refused since the start. */
    limitRefusals: Record<Limit, number>
  }
}

type Limit = 'user' | 'sign_in' | 'refused_token'

// Beyond this many, the least recently used keys are forgotten, so that memory stays flat.
const KEYS_IN_MEMORY = 50_000

/** Limits how often users and addresses call, with the headers RateLimit-* (draft) and Retry-After. */
export default fp(
  async (app) => {
    const { RATE_LIMIT_MAX, AUTH_RATE_LIMIT_MAX, RATE_LIMIT_WINDOW, REDIS_URL } = app.config
    const nameSpace = `${packageJson.name}-limit-`
    const redis = REDIS_URL ? openRedis(REDIS_URL, `${nameSpace}probe`, logChange) : undefined
    if (redis) app.addHook('onClose', async () => redis.close())
    const here = await limiterIn()
    const shared = redis && (await limiterIn(redis.client))

    const refusals: Record<Limit, number> = { user: 0, sign_in: 0, refused_token: 0 }
    app.decorate('limitRefusals', refusals)
    const ofAddress = (purpose: string) => (request: FastifyRequest) =>
      `${purpose}:${normalizeIP(request.ip, 64)}`
    app.decorate(
      'limitUser',
      limit('user', RATE_LIMIT_MAX, ({ user }) => `user:${user.id}`),
    )
    app.decorate('limitAddress', limit('sign_in', AUTH_RATE_LIMIT_MAX, ofAddress('sign-in')))
    app.decorate('limitFailures', limit('refused_token', AUTH_RATE_LIMIT_MAX, ofAddress('refused')))
    app.decorate('limits', {
      getter: () => (redis ? (redis.isUp ? 'shared' : 'redis_down') : 'local'),
    })

    async function limiterIn(client?: Redis): Promise<FastifyInstance['rateLimit']> {
      let rateLimit!: FastifyInstance['rateLimit']
      await app.register(async (scope) => {
        await scope.register(fastifyRateLimit, {
          global: false,
          timeWindow: RATE_LIMIT_WINDOW * 1000,
          enableDraftSpec: true,
          redis: client,
          nameSpace,
          errorResponseBuilder: (_request, { ttl }) =>
            new HttpProblem(
              429,
              'too_many_requests',
              `Too many requests. Try again in ${Math.ceil(ttl / 1000)} seconds.`,
            ),
        })
        ;({ rateLimit } = scope)
      })
      return rateLimit
    }

    function limit(name: Limit, max: number, keyGenerator: (request: FastifyRequest) => string) {
      const onExceeded = () => void (refusals[name] += 1)
      const options = { max, keyGenerator, cache: KEYS_IN_MEMORY, onExceeded }
      const countHere = here(options) as unknown as onRequestAsyncHookHandler
      if (!shared) return countHere
      const countShared = shared(options) as unknown as onRequestAsyncHookHandler
      const count: onRequestAsyncHookHandler = async (request, reply) => {
        if (redis.isUp) {
          try {
            return await inTime(Promise.resolve(countShared.call(app, request, reply)))
          } catch (error) {
            if (error instanceof HttpProblem) throw error
            redis.suspect()
          }
        }
        return countHere.call(app, request, reply)
      }
      return count
    }

    function logChange(err: Error | undefined): void {
      if (err) app.log.warn({ err }, 'Redis does not work: until it does, this instance counts by itself')
      else app.log.info('Redis works again')
    }
  },
  { name: 'rate-limit', dependencies: ['env'] },
)
