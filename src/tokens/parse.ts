import type { HttpProblem } from '../problem.ts'
import { kindOf, SEND_JWT } from './likely.ts'
import { invalidToken, missingToken, quote, type Reason } from './refusals.ts'

/** A token in its three parts, header and payload parsed but not yet verified. */
export interface UnverifiedToken {
  header: Record<string, unknown>
  payload: Record<string, unknown>
  /** What is signed: the first two parts as they came. */
  input: string
  signature: string
}

const MAX_TOKEN_LENGTH = 8192
const TYPES = ['jwt', 'at+jwt', 'application/at+jwt']

/**
 * The token of an Authorization header (RFC 6750, 2.1); the scheme is case-insensitive.
 * @param values every Authorization header of the request
 * @param advice what to send, for the reason
 * @throws HttpProblem 401
 */
export function readCredential(values: readonly string[], advice = SEND_JWT): string {
  if (values.length > 1) throw invalidToken(header('sent more than once', advice))
  const [scheme = '', ...rest] = (values[0] ?? '').split(' ').filter(Boolean)
  if (scheme === '') throw missingToken(header('missing', `Cookies are not looked at. ${advice}`))
  if (scheme.toLowerCase() !== 'bearer')
    throw missingToken(header(rest.length === 0 ? 'one word without a scheme' : 'of another scheme', advice))
  if (rest.length === 0) throw missingToken(header('a scheme without a token', advice))
  if (rest.length > 1) throw invalidToken(header(kindOf(rest.join(' ')) ?? 'more than one token', advice))
  return rest[0] as string
}

/** @param actual never a part of it: whatever stands there may be a secret */
const header = (actual: string, advice: string): Reason => ({
  rule: 'credential',
  what: 'The Authorization header',
  actual,
  expected: 'the word Bearer, a space and one token',
  advice,
})

/**
 * Splits a token and refuses every form that is not plainly a signed JWT (RFC 7515, 7519, 8725), before any key is
 * looked up.
 * @throws HttpProblem 401
 */
export function parseToken(token: string): UnverifiedToken {
  if (token.length > MAX_TOKEN_LENGTH)
    throw wrongForm(`${token.length} characters long`, `at most ${MAX_TOKEN_LENGTH}`)
  const parts = token.split('.')
  const [header = '', payload = '', signature = ''] = parts
  if (parts.length !== 3 || !parts.every(isCanonicalBase64Url))
    throw wrongForm(kindOf(token) ?? 'no JWT', 'three base64url parts with a dot between each')
  const parsed = {
    header: parseObject(header, 'header'),
    payload: parseObject(payload, 'payload'),
    input: `${header}.${payload}`,
    signature,
  }
  checkHeader(parsed.header)
  return parsed
}

function checkHeader(header: Record<string, unknown>): void {
  // Extensions that change what is signed or how; a verifier that does not know them must refuse (RFC 7515, 4.1.11).
  for (const name of ['crit', 'b64', 'zip', 'enc']) {
    if (name in header) throw wrongHeader(name, 'set', 'none')
  }
  // Another kind of token, such as Better Auth's session cookie, is not an access token (RFC 8725, 3.11).
  const { typ, cty, kid } = header
  if (typ !== undefined && !(typeof typ === 'string' && TYPES.includes(typ.toLowerCase())))
    throw wrongHeader('typ', quote(typ), '"JWT" or "at+jwt"')
  if (cty !== undefined) throw wrongHeader('cty', 'set', 'none, since a nested token is not read')
  if (kid !== undefined && typeof kid !== 'string') throw wrongHeader('kid', quote(kid), 'a string')
}

const wrongForm = (actual: string, expected: string, what = 'The token'): HttpProblem =>
  invalidToken({ rule: 'form', what, actual, expected, advice: SEND_JWT })

const wrongHeader = (name: string, actual: string, expected: string): HttpProblem =>
  invalidToken({
    rule: 'header',
    what: `The header's ${name}`,
    actual,
    expected,
    advice: /session/.test(actual) ? `It is a session cookie. ${SEND_JWT}` : undefined,
  })

function isCanonicalBase64Url(part: string): boolean {
  return /^[\w-]+$/.test(part) && Buffer.from(part, 'base64url').toString('base64url') === part
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function parseObject(part: string, name: string): Record<string, unknown> {
  const refuse = (actual: string) => wrongForm(actual, 'a JSON object in UTF-8', `The ${name} of the token`)
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(Buffer.from(part, 'base64url')))
  } catch {
    throw refuse('not JSON') // what JSON.parse says quotes from the token
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse('another value')
  return value as Record<string, unknown>
}
