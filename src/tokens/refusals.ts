import { type HttpProblem, unauthorized } from '../problem.ts'

/** What of a token was looked at when it was refused. */
export type Rule =
  | 'credential'
  | 'form'
  | 'header'
  | 'alg'
  | 'kid'
  | 'signature'
  | 'exp'
  | 'nbf'
  | 'iat'
  | 'iss'
  | 'aud'
  | 'subject'

export interface Reason {
  rule: Rule
  /** What was looked at, as a sentence begins with it. */
  what: string
  /** What came, without quotes from the token but for alg, kid, iss and aud. */
  actual: string
  /** What should have come. */
  expected: string
  /** What to do, in whole sentences. */
  advice?: string
  /** What a library said. */
  cause?: unknown
}

/** Why a token was refused. The message is one sentence, or two: for the log and doctor, and in development for the client. */
export class TokenRefusal extends Error {
  override name = 'TokenRefusal'
  readonly rule: Rule
  readonly expected: string
  readonly actual: string

  constructor({ rule, what, actual, expected, advice, cause }: Reason) {
    super(`${what} is ${actual}, expected ${expected}.${advice ? ` ${advice}` : ''}`, { cause })
    this.rule = rule
    this.expected = expected
    this.actual = actual
  }
}

/** The reason of a refusal that was made here. */
export function reasonOf({ cause }: Error): TokenRefusal | undefined {
  return cause instanceof TokenRefusal ? cause : undefined
}

const refused = (code: string, detail: string, reason: Reason): HttpProblem =>
  unauthorized(
    code,
    detail,
    `, error="invalid_token", error_description="${detail}"`,
    new TokenRefusal(reason),
  )

// The reason is for the log; the client gets the same answer for every reason.

/** No credential was sent, so there is no error code (RFC 6750, 3.1). */
export const missingToken = (reason: Reason) =>
  unauthorized('missing_token', 'Missing token', '', new TokenRefusal(reason))
export const invalidToken = (reason: Reason) => refused('invalid_token', 'Invalid token', reason)
export const tokenExpired = (reason: Reason) => refused('token_expired', 'Token expired', reason)
export const missingUserId = (reason: Reason) =>
  refused('missing_user_id', 'Invalid token: missing user_id', reason)

const MAX_LENGTH = 200
const MAX_ENTRIES = 5

/**
 * A value out of a token, for people to read: at most some 200 characters of ASCII, so that no terminal obeys it. Of
 * lists the first entries alone, and nothing of objects, whose depth may be any.
 */
export function quote(value: unknown): string {
  if (value === undefined) return 'missing'
  const list = Array.isArray(value) ? value.slice(0, MAX_ENTRIES) : undefined
  const text = list ? `[${list.map(quoteScalar).join(', ')}]` : quoteScalar(value)
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}...` : text
}

function quoteScalar(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  const text = typeof value === 'string' ? value.slice(0, MAX_LENGTH) : value
  return JSON.stringify(text).replaceAll(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
