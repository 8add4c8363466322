import { compactVerify, importSPKI } from 'jose'
import type { VerifierOptions } from './options.ts'
import { parseToken, type UnverifiedToken } from './parse.ts'
import { wrongSignature } from './reasons.ts'
import { keyFor, type User, userOf } from './verify.ts'

export interface VerifiedToken {
  user: User
  token: UnverifiedToken
  /** What verified it: a secret, or a public key in PEM. */
  key: string
}

/**
 * Verifies a token where there is no request, by the rules of those of requests and in their order.
 * @param now milliseconds since 1970
 * @throws HttpProblem 401, or 503 if no key can be had at all
 */
export async function verifyToken(
  credential: string,
  options: VerifierOptions,
  now = Date.now(),
): Promise<VerifiedToken> {
  const token = parseToken(credential)
  const key = await keyFor(token, options)
  const alg = String(token.header.alg)
  try {
    const verifying = alg === 'HS256' ? new TextEncoder().encode(key) : await importSPKI(key, alg)
    await compactVerify(credential, verifying, { algorithms: [alg] })
  } catch (error) {
    throw wrongSignature(token, options, error)
  }
  return { user: userOf(token, options, now), token, key }
}
