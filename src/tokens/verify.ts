import { createHmac, timingSafeEqual } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { MissingKeyError } from './jwks.ts'
import { KEY_SET_ALGORITHMS, LEEWAY_SECONDS, SECRET_ALGORITHMS, type VerifierOptions } from './options.ts'
import type { UnverifiedToken } from './parse.ts'
import { unknownKey, wrongAddress, wrongAlgorithm } from './reasons.ts'
import { invalidToken, missingUserId, type Reason } from './refusals.ts'
import { expired, noEnd, notYet } from './times.ts'

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

/**
 * The key that must have signed a token: the header's `alg` alone chooses between secrets and key set, so that a
 * public key is never used as a secret; `jwk`, `jku`, `x5u` and `x5c` are never looked at.
 * @returns a secret or a public key in PEM
 * @throws HttpProblem 401, or 503 if no keys are available at all
 */
export async function keyFor(token: UnverifiedToken, options: VerifierOptions): Promise<string> {
  const { header, input, signature } = token
  const { secrets, keySet } = options
  if (SECRET_ALGORITHMS.includes(header.alg as never) && secrets.length > 0) {
    return secrets.find((secret) => isSignedWith(secret, input, signature)) ?? (secrets[0] as string)
  }
  if (KEY_SET_ALGORITHMS.includes(header.alg as never) && keySet) {
    try {
      return await keySet.find(header as { alg: string; kid?: string })
    } catch (error) {
      throw error instanceof MissingKeyError ? unknownKey(token, options, keySet, error) : error
    }
  }
  throw wrongAlgorithm(token, options)
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
export function userOf(token: UnverifiedToken, options: VerifierOptions, now = Date.now()): User {
  const { header, payload } = token
  const { exp, iss, aud, email } = payload
  if (!isTime(exp)) throw noEnd(exp)
  if (isExpired({ exp }, now)) throw expired(exp, now)
  for (const claim of ['nbf', 'iat'] as const) {
    const start = payload[claim]
    if (start === undefined) continue
    if (!isTime(start) || start - LEEWAY_SECONDS > now / 1000) throw notYet(claim, start, now)
  }
  const origin = header.alg === 'HS256' ? undefined : options.keySetOrigin
  const issuer = options.issuer ?? origin
  const audience = options.audience ?? origin
  if (issuer !== undefined && iss !== issuer) throw wrongAddress('iss', issuer, token, options)
  if (audience !== undefined && ![aud].flat().includes(audience))
    throw wrongAddress('aud', audience, token, options)
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
  if (subject === undefined) throw missingUserId(wrongSubject('missing'))
  if (!subjects.every((other) => isDeepStrictEqual(other, subject)))
    throw invalidToken({ ...wrongSubject('not one: two of the three differ'), advice: DIFFERENT_SUBJECTS })
  if (typeof subject !== 'string' || !isVisible(subject))
    throw invalidToken(wrongSubject(typeof subject === 'string' ? 'another text' : 'no text'))
  return subject
}

const DIFFERENT_SUBJECTS =
  "The payload of Better Auth's jwt plugin carries the user's id: with a getSubject of your own, give it a " +
  'definePayload too.'

const wrongSubject = (actual: string): Reason => ({
  rule: 'subject',
  what: 'The subject (sub, else user_id, else id)',
  actual,
  expected: '1-255 visible characters without spaces',
})
