// token → User, or 401.
//
//   readCredential, parseToken (form) ─ keyFor (which key must have signed it) ─ signature ─ userOf (claims)
//                                          └ remoteKeySet (the issuer's keys)
//
// Every refusal is made in refusals.ts.

export { type KeySet, MissingKeyError, remoteKeySet } from './jwks.ts'
export { parseToken, readCredential, type UnverifiedToken } from './parse.ts'
export { invalidToken } from './refusals.ts'
export {
  type Claims,
  isExpired,
  isVisible,
  KEY_SET_ALGORITHMS,
  keyFor,
  LEEWAY_SECONDS,
  SECRET_ALGORITHMS,
  type User,
  userOf,
  type VerifierOptions,
} from './verify.ts'
