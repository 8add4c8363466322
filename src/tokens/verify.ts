import { createHmac, timingSafeEqual } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { type KeySet, MissingKeyError } from './jwks.ts'
import type { UnverifiedToken } from './parse.ts'
import { invalidToken, missingUserId, tokenExpired } from './refusals.ts'

/** The claims of a verified token: RFC 7519, and what the issuer added. */
export interface Claims {
  readonly [name: string]: unknown
  readonly exp: number
}

/** Who a request comes from. */
export interface User {
  /** 1–255 visible characters: `sub`, else `user_id`, else `id`. */
  readonly id: string
  readonly email: string | null
  readonly claims: Claims
}

export interface VerifierOptions {
  /** HS256 secrets, any of which may have signed a token. If empty, HS256 tokens are refused. */
  secrets: readonly string[]
  /** The issuer's public keys. If undefined, tokens signed with a private key are refused. */
  keySet?: KeySet
  /** If set, the only `iss` and `aud` accepted of any token. */
  issuer?: string
  audience?: string
  /** The `iss` and `aud` that tokens verified by the key set must have if the two above are not set. */
  keySetOrigin?: string
}

/** Seconds that the issuer's clock may be off. */
export const LEEWAY_SECONDS = 30
export const SECRET_ALGORITHMS = ['HS256'] as const
export const KEY_SET_ALGORITHMS = ['EdDSA', 'ES256', 'ES512', 'RS256', 'PS256'] as const

/**
 * The key that must have signed a token: the header's `alg` alone chooses between secrets and key set, so that a
 * public key is never used as a secret; `jwk`, `jku`, `x5u` and `x5c` are never looked at.
 * @returns a secret or a public key in PEM
 * @throws HttpProblem 401, or 503 if no keys are available at all
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
 * The user of a token with a verified signature.
 * @param now milliseconds since 1970
 * @throws HttpProblem 401
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

/** Whether a token has expired, with leeway for the clocks. */
export function isExpired({ exp }: Pick<Claims, 'exp'>, now = Date.now()): boolean {
  return exp + LEEWAY_SECONDS <= now / 1000
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

// Letters, marks, numbers, punctuation and symbols, except the invisible ones, such as fillers: ids that look the same
// must be the same.
const VISIBLE = /^[[\p{L}\p{M}\p{N}\p{P}\p{S}]--[\p{Default_Ignorable_Code_Point}\u2800]]{1,255}$/v

/** Whether a text is 1–255 characters that people can see, without spaces. */
export const isVisible = (text: string): boolean => VISIBLE.test(text)

function subjectOf({ sub, user_id, id }: Claims): string {
  const subjects = [sub, user_id, id].filter((subject) => subject !== undefined && subject !== null)
  const [subject] = subjects
  if (subject === undefined) throw missingUserId()
  if (!subjects.every((other) => isDeepStrictEqual(other, subject))) throw invalidToken('subjects differ')
  if (typeof subject !== 'string' || !isVisible(subject)) throw invalidToken('subject')
  return subject
}
