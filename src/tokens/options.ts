import { type KeySet, remoteKeySet } from './jwks.ts'

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

/** The same as src/config.ts reads it. */
export type VerifierSettings = Omit<VerifierOptions, 'keySet'> & { jwksUrl?: URL }

/** Seconds that the issuer's clock may be off. */
export const LEEWAY_SECONDS = 30
export const SECRET_ALGORITHMS = ['HS256'] as const
export const KEY_SET_ALGORITHMS = ['EdDSA', 'ES256', 'ES512', 'RS256', 'PS256'] as const

/** What the service verifies tokens with. Keys are fetched when they are first needed. */
export function verifierOptions(settings: VerifierSettings): VerifierOptions {
  const { secrets, jwksUrl, issuer, audience, keySetOrigin } = settings
  return { secrets, keySet: jwksUrl && remoteKeySet(jwksUrl), issuer, audience, keySetOrigin }
}
