import { invalidToken, missingToken } from './refusals.ts'

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
 * @throws HttpProblem 401
 */
export function readCredential(values: readonly string[]): string {
  if (values.length > 1) throw invalidToken('more than one Authorization header')
  const [scheme = '', ...rest] = (values[0] ?? '').split(' ').filter(Boolean)
  if (scheme.toLowerCase() !== 'bearer' || rest.length === 0) throw missingToken()
  if (rest.length > 1) throw invalidToken('more than one token')
  return rest[0] as string
}

/**
 * Splits a token and refuses every form that is not plainly a signed JWT (RFC 7515, 7519, 8725), before any key is
 * looked up.
 * @throws HttpProblem 401
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
    throw invalidToken('not JSON') // the message of JSON.parse quotes the token
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalidToken('not a JSON object')
  return value as Record<string, unknown>
}
