import { SignJWT } from 'jose'
import type { Config } from '../config.ts'

export interface TokenOptions {
  /** 1–255 visible characters. */
  sub: string
  email?: string
  /** Lifetime in days. */
  days?: number
}

/**
 * Signs a token as a Better Auth server with the same secret would, for trying things out.
 * @returns undefined if there is no secret to sign with
 */
export async function mintToken(
  { signingSecret, issuer, audience }: Config,
  { sub, email, days = 7 }: TokenOptions,
): Promise<string | undefined> {
  if (!signingSecret) return undefined
  const now = Math.floor(Date.now() / 1000)
  const token = new SignJWT({ user_id: sub, email })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(sub)
    .setIssuedAt(now)
    .setExpirationTime(now + Math.round(days * 86_400))
  if (issuer) token.setIssuer(issuer)
  if (audience) token.setAudience(audience)
  return token.sign(new TextEncoder().encode(signingSecret))
}
