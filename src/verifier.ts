import { createHmac, timingSafeEqual } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { type KeySet, MissingKeyError } from './jwks.ts'
import { Problem } from './problem.ts'

/** The claims of a verified token: RFC 7519, and what the issuer added. */
export interface Claims {
  [name: string]: unknown
  exp: number
}

/** Who a request comes from. */
export interface User {
  /** 1–255 visible characters: `sub`, else `user_id`, else `id`. */
  id: string
  email: string | null
  claims: Claims
}

/** A token in its three parts, header and payload parsed but not yet believed. */
export interface UnverifiedToken {
  header: Record<string, unknown>
  payload: Record<string, unknown>
  /** What is signed: the first two parts as they came. */
  input: string
  signature: string
}

export interface VerifierOptions {
  /** HS256 secrets, all of which verify. None: HS256 tokens are refused. */
  secrets: readonly string[]
  /** The issuer's public keys. None: tokens signed with a private key are refused. */
  keySet?: KeySet
  /** The only `iss` and `aud` accepted from any token, where set. */
  issuer?: string
  audience?: string
  /** The `iss` and `aud` that tokens verified by the key set must have where the two above are not set. */
  keySetOrigin?: string
}

/** Seconds that the issuer's clock may be off. */
export const LEEWAY_SECONDS = 30
export const SECRET_ALGORITHMS = ['HS256'] as const
export const KEY_SET_ALGORITHMS = ['EdDSA', 'ES256', 'ES512', 'RS256', 'PS256'] as const

const MAX_TOKEN_LENGTH = 8192
const TYPES = ['jwt', 'at+jwt', 'application/at+jwt']

/** The header that each 401 carries (RFC 6750, 3). */
export const challenge = (parameters = '') => ({
  'www-authenticate': `Bearer realm="taskward"${parameters}`,
})

/** 401 without an error code: nothing was sent that could be wrong (RFC 6750, 3.1). */
export const missingToken = () => new Problem(401, 'missing_token', 'Missing token', { headers: challenge() })

const refused = (code: string, detail: string, cause?: unknown) =>
  new Problem(401, code, detail, {
    headers: challenge(`, error="invalid_token", error_description="${detail}"`),
    cause: typeof cause === 'string' ? new Error(cause) : cause,
  })

/** @param cause the reason, for the log: the client gets one and the same answer */
export const invalidToken = (cause: unknown) => refused('invalid_token', 'Invalid token', cause)
export const tokenExpired = () => refused('token_expired', 'Token expired')
const missingUserId = () => refused('missing_user_id', 'Invalid token: missing user_id')

/**
 * The token of an Authorization header (RFC 6750, 2.1); the scheme is case-insensitive.
 * @param values every Authorization header of the request
 * @throws Problem 401
 */
export function readCredential(values: readonly string[]): string {
  if (values.length > 1) throw invalidToken('more than one Authorization header')
  const [scheme = '', ...rest] = (values[0] ?? '').split(' ').filter(Boolean)
  if (scheme.toLowerCase() !== 'bearer' || rest.length === 0) throw missingToken()
  if (rest.length > 1) throw invalidToken('more than one token')
  return rest[0] as string
}

/**
 * Takes a token apart and refuses every form that is not plainly a signed JWT (RFC 7515, 7519, 8725), before any key
 * is looked at.
 * @throws Problem 401
 */
export function parseToken(token: string): UnverifiedToken {
  if (token.length > MAX_TOKEN_LENGTH) throw invalidToken('too long')
  const parts = token.split('.')
  const [header = '', payload = '', signature = ''] = parts
  if (parts.length !== 3 || !parts.every(isCanonicalBase64Url))
    throw invalidToken('not three base64url parts')
  const parsed = {
    header: parseObject(header),
    payload: parseObject(payload),
    input: `${header}.${payload}`,
    signature,
  }
  checkHeader(parsed.header)
  return parsed
}

function checkHeader(header: Record<string, unknown>): void {
  // Extensions that change what is signed or how; a verifier that does not know them must refuse (RFC 7515, 4.1.11).
  for (const name of ['crit', 'b64', 'zip', 'enc']) {
    if (name in header) throw invalidToken(`header ${name}`)
  }
  // Another kind of token, such as Better Auth's session cookie, is not an access token (RFC 8725, 3.11).
  const { typ, cty, kid } = header
  if (typ !== undefined && !(typeof typ === 'string' && TYPES.includes(typ.toLowerCase())))
    throw invalidToken('typ')
  if (cty !== undefined) throw invalidToken('cty: a nested token')
  if (kid !== undefined && typeof kid !== 'string') throw invalidToken('kid')
}

function isCanonicalBase64Url(part: string): boolean {
  return /^[\w-]+$/.test(part) && Buffer.from(part, 'base64url').toString('base64url') === part
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function parseObject(part: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(Buffer.from(part, 'base64url')))
  } catch {
    throw invalidToken('not JSON') // what JSON.parse says quotes from the token
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalidToken('not a JSON object')
  return value as Record<string, unknown>
}

/**
 * The key that must have signed a token: the header's `alg` alone chooses between secrets and key set, so that a
 * public key is never taken for a secret; `jwk`, `jku`, `x5u` and `x5c` are never looked at.
 * @returns a secret or a public key in PEM
 * @throws Problem 401, or 503 if no key can be had at all
 */
export async function keyFor(
  { header, input, signature }: UnverifiedToken,
  options: VerifierOptions,
): Promise<string> {
  const { secrets, keySet } = options
  if (SECRET_ALGORITHMS.includes(header.alg as never) && secrets.length > 0) {
    return secrets.find((secret) => isSignedWith(secret, input, signature)) ?? (secrets[0] as string)
  }
  if (KEY_SET_ALGORITHMS.includes(header.alg as never) && keySet) {
    try {
      return await keySet.find(header as { alg: string; kid?: string })
    } catch (error) {
      throw error instanceof MissingKeyError ? invalidToken(error) : error
    }
  }
  throw invalidToken('alg')
}

function isSignedWith(secret: string, input: string, signature: string): boolean {
  const expected = createHmac('sha256', secret).update(input).digest()
  const actual = Buffer.from(signature, 'base64url')
  return actual.length === expected.length && timingSafeEqual(actual, expected)
}

/**
 * The user of a token whose signature holds.
 * @param now milliseconds since 1970
 * @throws Problem 401
 */
export function userOf(
  { header, payload }: UnverifiedToken,
  options: VerifierOptions,
  now = Date.now(),
): User {
  const seconds = now / 1000
  const { exp, nbf, iat, iss, aud, email } = payload
  if (!isTime(exp)) throw invalidToken('exp')
  if (isExpired({ exp }, now)) throw tokenExpired()
  for (const start of [nbf, iat]) {
    if (start === undefined) continue
    if (!isTime(start) || start - LEEWAY_SECONDS > seconds) throw invalidToken('nbf or iat')
  }
  const origin = header.alg === 'HS256' ? undefined : options.keySetOrigin
  const issuer = options.issuer ?? origin
  const audience = options.audience ?? origin
  if (issuer !== undefined && iss !== issuer) throw invalidToken('iss')
  if (audience !== undefined && ![aud].flat().includes(audience)) throw invalidToken('aud')
  const claims = payload as Claims
  return { id: subjectOf(claims), email: typeof email === 'string' ? email : null, claims }
}

/** Whether the time of a token is over, the clocks' leeway included. */
export function isExpired({ exp }: Pick<Claims, 'exp'>, now = Date.now()): boolean {
  return exp + LEEWAY_SECONDS <= now / 1000
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

// Letters, marks, numbers, punctuation and symbols, but for those of them that nobody sees, such as fillers: two ids
// that look the same are the same.
const VISIBLE = /^[[\p{L}\p{M}\p{N}\p{P}\p{S}]--[\p{Default_Ignorable_Code_Point}\u2800]]{1,255}$/v

function subjectOf({ sub, user_id, id }: Claims): string {
  const subjects = [sub, user_id, id].filter((subject) => subject !== undefined && subject !== null)
  const [subject] = subjects
  if (subject === undefined) throw missingUserId()
  if (!subjects.every((other) => isDeepStrictEqual(other, subject))) throw invalidToken('subjects differ')
  if (typeof subject !== 'string' || !VISIBLE.test(subject)) throw invalidToken('subject')
  return subject
}
