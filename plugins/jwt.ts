import fastifyJwt from '@fastify/jwt'
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { LRUCache } from 'lru-cache'
import type { Owner } from '../src/isolation/index.ts'
import { HttpProblem, inactiveUser } from '../src/problem.ts'
import { claimOwners } from '../src/tables.ts'
import {
  type Claims,
  isExpired,
  KEY_SET_ALGORITHMS,
  keyFor,
  type KeySet,
  LEEWAY_SECONDS,
  parseToken,
  readCredential,
  reasonOf,
  SECRET_ALGORITHMS,
  type UnverifiedToken,
  type User,
  userOf,
  verifierOptions,
  wrongSignature,
} from '../src/tokens/index.ts'

declare module '@fastify/jwt' {
  interface FastifyJWT {
    payload: Partial<Claims>
    user: User
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The `onRequest` hook of every route that needs a token: sets `request.user`, or throws 401. */
    authenticate: onRequestAsyncHookHandler
    /** The issuer's public keys; undefined if tokens are verified with secrets alone. */
    keySet: KeySet | undefined
  }
  interface FastifyRequest {
    /** Whose rows the request may reach. */
    readonly owner: Owner
  }
}

/** A verified token. It stays verified until it expires, or the issuer's keys are fetched again or due for that. */
interface Verified {
  /** Frozen: all requests with this token share it. */
  readonly user: User
  readonly owner: Owner
  /** Until when the keys that verified it need not be asked again, in milliseconds since 1970; undefined for a secret. */
  readonly keys: number | undefined
}

// A base class whose instance is the object that it is given.
const Itself = function (request: object) {
  return request
} as unknown as new (request: object) => object

/** Gives a request a private field, so that no handler can say whose it is. A WeakMap would cost microseconds. */
class Identified extends Itself {
  #verified: Verified | undefined
  static as(request: object, verified: Verified): void {
    const identified = #verified in request ? request : new Identified(request)
    identified.#verified = verified
  }
  static of(request: object): Verified | undefined {
    return #verified in request ? request.#verified : undefined
  }
}

const ownerOf = claimOwners()

const CACHED_TOKENS = 10_000

/** Verifies the bearer token (src/tokens has the rules) and decorates `request.user`. */
export default fp(
  async (app) => {
    const { signingSecret, issuer, audience } = app.config
    const options = verifierOptions(app.config)
    const { keySet } = options
    app.decorate('keySet', keySet)
    // The tokens that @fastify/jwt has verified: who calls `authenticate` with a `jwtVerify` of their own adds none.
    const signed = new WeakMap<object, string>()

    await app.register(fastifyJwt, {
      decoratorName: 'jwtPayload', // not `user`: it has only a getter, below
      secret: {
        private: signingSecret as string,
        public: (_request: FastifyRequest, token: unknown) => keyFor(token as UnverifiedToken, options),
      },
      decode: { complete: true },
      sign: { algorithm: 'HS256', ...(issuer && { iss: issuer }), ...(audience && { aud: audience }) },
      trusted(_request, token) {
        signed.set(token, `${token.input}.${token.signature}`)
        return true
      },
      verify: {
        complete: true,
        algorithms: [...SECRET_ALGORITHMS, ...KEY_SET_ALGORITHMS],
        clockTolerance: LEEWAY_SECONDS * 1000,
        ignoreExpiration: true, // userOf() checks the claims, with a separate answer for each fault
        ignoreNotBefore: true,
        extractToken: (request) => readCredential(authorizationOf(request)),
      },
    })

    // Keyed by the whole token: one that differs in one character is a different token.
    const cache = new LRUCache<string, Verified>({ max: CACHED_TOKENS })
    const isStillGood = ({ user, keys }: Verified) =>
      !isExpired(user.claims) && (keys === undefined || (Date.now() < keys && keys === keySet?.freshUntil()))

    async function verify(request: FastifyRequest): Promise<Verified> {
      const credential = readCredential(authorizationOf(request))
      const known = cache.get(credential)
      if (known && isStillGood(known)) return known
      // Strict about form, which @fastify/jwt is not: it answers 400 or 500 to some malformed tokens.
      const token = parseToken(credential)
      // Before the key is looked up: what is fetched meanwhile may lack it.
      const keys = token.header.alg === 'HS256' ? undefined : keySet?.freshUntil()
      const proof = await request.jwtVerify<object>().catch((error) => {
        throw error instanceof HttpProblem ? error : wrongSignature(token, options, error)
      })
      if (signed.get(proof) !== credential) throw new TypeError('the token was not verified')
      const user = deepFreeze(userOf(token, options))
      const verified = { user, owner: ownerOf(user), keys }
      cache.set(credential, verified)
      return verified
    }

    app.decorateRequest('user', {
      getter() {
        return Identified.of(this)?.user as User // undefined on a route without authenticate
      },
    })
    app.decorateRequest('owner', {
      getter() {
        const verified = Identified.of(this)
        if (!verified) throw new Error('This route has no user: app.authenticate is not among its hooks.')
        return verified.owner
      },
    })
    app.decorate('authenticate', async (request, reply) => {
      reply.header('cache-control', 'no-store') // the answer is for this user only
      try {
        Identified.as(request, await verify(request))
      } catch (error) {
        // An unreachable issuer is not the caller's fault.
        if ((error as HttpProblem).statusCode === 401) await app.limitFailures(request, reply)
        throw app.config.NODE_ENV === 'development' ? withHint(error as Error) : error
      }
      await app.limitUser(request, reply)
      refuseBlocked(request.user)
      await app.limitConcurrency(request, reply)
    })
  },
  { name: 'jwt', dependencies: ['env', 'rate-limit', 'concurrency'] },
)

/** Adds the reason, which otherwise only the log has, to the answer. */
function withHint(error: Error): Error {
  return Object.assign(error, { hint: reasonOf(error)?.message })
}

/** Better Auth's admin plugin says `banned`; other services say `disabled`. */
function refuseBlocked({ claims }: User): void {
  if (claims.banned === true) throw new HttpProblem(403, 'banned', 'This user is banned')
  if (claims.disabled === true) throw inactiveUser()
}

/** Every Authorization header: node:http keeps only the first of several. */
function authorizationOf(request: FastifyRequest): string[] {
  const { rawHeaders } = request.raw
  const values: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === 'authorization') values.push(rawHeaders[i + 1] as string)
  }
  return values
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part)
  return Object.freeze(value)
}
