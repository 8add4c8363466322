import type { webcrypto } from 'node:crypto'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type ExportedJWKSCache,
  exportSPKI,
  type JWKSCacheInput,
  jwksCache,
} from 'jose'
import { unavailable } from '../problem.ts'

/** The issuer's public keys. */
export interface KeySet {
  /**
   * Finds the key for a token's header.
   * @returns the key in PEM
   * @throws MissingKeyError if the issuer has no such key
   * @throws HttpProblem 503 if there are no usable keys and the issuer does not answer
   */
  find(header: { alg: string; kid?: string }): Promise<string>
  /** When the known keys must be fetched again, in milliseconds since 1970. */
  freshUntil(): number
  /** The ids and algorithms of the keys that are known now. */
  known(): { kid?: unknown; alg?: unknown }[]
  /** Where they come from, without a query. */
  readonly address: string
}

/** The issuer publishes no key that fits the token. */
export class MissingKeyError extends Error {
  override name = 'MissingKeyError'
}

const SECONDS = 1000
/** Keys are fetched again after this time; a key that the issuer removed is refused from then on. */
const MAX_AGE = 600 * SECONDS
/** While the issuer is unreachable, its last known keys are used for at most this much longer. */
const MAX_STALE = 3600 * SECONDS
/** Unknown key ids cause at most one fetch in this time. */
const COOL_DOWN = 30 * SECONDS
/** Minimum time between two attempts after a failure, however many requests wait. */
const RETRY_AFTER = 5 * SECONDS
const TIMEOUT = 3 * SECONDS
const MAX_BYTES = 256 * 1024
const MIN_RSA_BITS = 2048

/** The keys at a JSON Web Key Set address (RFC 7517), fetched when first needed and kept. */
export function remoteKeySet(url: URL): KeySet {
  const cache: Partial<ExportedJWKSCache> = {} // jose writes here only when it has fetched a key set
  let retryAt = 0
  const remote = createRemoteJWKSet(url, {
    timeoutDuration: TIMEOUT,
    cooldownDuration: COOL_DOWN,
    cacheMaxAge: MAX_AGE,
    // Fetches are minutes apart: by then, the issuer would have closed a connection that is kept alive.
    headers: { connection: 'close' },
    [jwksCache]: cache as JWKSCacheInput,
    [customFetch]: async (address: string, init: RequestInit) => {
      if (Date.now() < retryAt) throw new Error('cooling down after a failed fetch')
      retryAt = Date.now() + RETRY_AFTER
      return limitBody(await fetch(address, init))
    },
  })

  async function find(header: { alg: string; kid?: string }): Promise<webcrypto.CryptoKey> {
    try {
      return await remote(header)
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JOSENotSupported) throw error
      if (error instanceof errors.JWKSMultipleMatchingKeys) throw error
      const known = remote.jwks()
      if (!known || Date.now() > (cache.uat ?? 0) + MAX_AGE + MAX_STALE) {
        throw unavailable(
          'keys_unavailable',
          'The token issuer cannot be reached. Try again shortly.',
          error,
          5,
        )
      }
      return createLocalJWKSet(known)(header)
    }
  }

  const pems = new WeakMap<webcrypto.CryptoKey, string>()
  async function findPem(header: { alg: string; kid?: string }): Promise<string> {
    const key = await find(header).catch((error) => {
      throw error instanceof errors.JOSEError ? new MissingKeyError(error.message) : error
    })
    let pem = pems.get(key)
    if (pem === undefined) {
      const { modulusLength = MIN_RSA_BITS } = key.algorithm as webcrypto.RsaHashedKeyAlgorithm
      if (modulusLength < MIN_RSA_BITS) throw new MissingKeyError(`RSA key of ${modulusLength} bits`)
      pem = await exportSPKI(key)
      pems.set(key, pem)
    }
    return pem
  }
  return {
    find: findPem,
    freshUntil: () => (cache.uat ?? 0) + MAX_AGE,
    known: () => remote.jwks()?.keys ?? [],
    address: url.origin + url.pathname,
  }
}

async function limitBody(response: Response): Promise<Response> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new Error(`key set of more than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return new Response(Buffer.concat(chunks), { status: response.status, headers: response.headers })
}
