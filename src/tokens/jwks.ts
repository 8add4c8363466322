import type { webcrypto } from 'node:crypto'
import {
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
  /** Until when what the known keys verify need not be verified again, in milliseconds since 1970. */
  freshUntil(): number
  /** How many fetches brought keys, and how many did not, since the start. */
  fetches(): { succeeded: number; failed: number }
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
/** A key that the issuer removed is refused after this time, if the issuer can be reached. */
const MAX_AGE = 600 * SECONDS
/** From this age on, keys are fetched again beside the requests, which go on with the known ones. */
const REFRESH_AGE = 480 * SECONDS
/** For as long after the last token keys are fetched again at that age, so that nobody waits who comes back. */
const KEPT_FRESH = 3600 * SECONDS
/** While the issuer is unreachable, its last known keys are used for at most this much longer. */
const MAX_STALE = 3600 * SECONDS
/** Unknown key ids cause at most one fetch in this time. */
const COOL_DOWN = 30 * SECONDS
/** Time between two attempts after a failure, however many requests wait: doubled each time while there are usable keys. */
const RETRY_AFTER = 5 * SECONDS
const MAX_RETRY_AFTER = 60 * SECONDS
const TIMEOUT = 3 * SECONDS
const MAX_BYTES = 256 * 1024
const MIN_RSA_BITS = 2048

/** The keys at a JSON Web Key Set address (RFC 7517), fetched when first needed and kept. */
export function remoteKeySet(url: URL): KeySet {
  const cache: Partial<ExportedJWKSCache> = {} // jose writes here only when it has fetched a key set
  // jose looks keys up and fetches them, one fetch for all that wait; when it fetches is decided here.
  const remote = createRemoteJWKSet(url, {
    timeoutDuration: TIMEOUT,
    cooldownDuration: Infinity,
    cacheMaxAge: Infinity,
    // Fetches are minutes apart: by then, the issuer would have closed a connection that is kept alive.
    headers: { connection: 'close' },
    [jwksCache]: cache as JWKSCacheInput,
    [customFetch]: async (address: string, init: RequestInit) => checkKeySet(await fetch(address, init)),
  })

  const fetches = { succeeded: 0, failed: 0 }
  let failures = 0 // in a row
  let endedAt = 0 // of the last fetch, whatever came of it
  let underWay: Promise<void> | undefined
  let usedAt = 0
  let next: NodeJS.Timeout | undefined

  const fetchedAt = () => cache.uat ?? -Infinity
  const endOfLife = () => fetchedAt() + MAX_AGE + MAX_STALE
  const isUsable = () => Date.now() < endOfLife()

  /** When the next fetch is due. */
  function dueAt(): number {
    if (failures === 0) return fetchedAt() + REFRESH_AGE
    return endedAt + (isUsable() ? Math.min(RETRY_AFTER * 2 ** (failures - 1), MAX_RETRY_AFTER) : RETRY_AFTER)
  }

  /** Joins the fetch that is under way, or starts one. */
  function refresh(): Promise<void> {
    underWay ??= fetchOnce().finally(() => (underWay = undefined))
    return underWay
  }

  async function fetchOnce(): Promise<void> {
    try {
      await remote.reload()
      fetches.succeeded += 1
      failures = 0
    } catch (error) {
      fetches.failed += 1
      failures += 1
      throw error
    } finally {
      endedAt = Date.now()
      clearTimeout(next)
      next = setTimeout(() => {
        if (isUsable() && Date.now() < usedAt + KEPT_FRESH) void refresh().catch(() => {})
      }, dueAt() - endedAt).unref()
    }
  }

  async function find(header: { alg: string; kid?: string }): Promise<webcrypto.CryptoKey> {
    const now = Date.now()
    usedAt = now
    if (!isUsable()) await fetchNow()
    // Nobody has asked for hours, or the process was suspended: the issuer may well be reachable, and have removed a key.
    else if (now >= fetchedAt() + MAX_AGE && now >= dueAt() + MAX_RETRY_AFTER) await refresh().catch(() => {})
    else if (now >= dueAt()) void refresh().catch(() => {})
    try {
      return await remote(header)
    } catch (error) {
      const mayAsk = underWay || Date.now() >= Math.min(dueAt(), endedAt + COOL_DOWN)
      if (!(error instanceof errors.JWKSNoMatchingKey) || !mayAsk) throw error
      await refresh().catch(() => {})
      return remote(header)
    }
  }

  async function fetchNow(): Promise<void> {
    try {
      if (!underWay && Date.now() < dueAt()) throw new Error('cooling down after a failed fetch')
      await refresh()
    } catch (error) {
      const detail = 'The token issuer cannot be reached. Try again shortly.'
      throw unavailable('keys_unavailable', detail, error, RETRY_AFTER / SECONDS)
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
    freshUntil: () => Math.min(dueAt(), endOfLife()),
    fetches: () => fetches,
    known: () => remote.jwks()?.keys ?? [],
    address: url.origin + url.pathname,
  }
}

const PUBLIC_KEY_TYPES = ['OKP', 'EC', 'RSA']

/** @throws Error if it is too large, or has no public key: then the keys that are known stay */
async function checkKeySet(response: Response): Promise<Response> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new Error(`key set of more than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  const body = Buffer.concat(chunks)
  if (response.ok) {
    const { keys } = JSON.parse(body.toString()) as { keys: { kty?: string }[] }
    if (!keys.some(({ kty = '' }) => PUBLIC_KEY_TYPES.includes(kty)))
      throw new Error('key set without a public key')
  }
  return new Response(body, { status: response.status, headers: response.headers })
}
