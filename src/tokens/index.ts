// token → User, or 401.
//
//   readCredential, parseToken (form) ─ keyFor (which key must have signed it) ─ signature ─ userOf (claims)
//                                          └ remoteKeySet (the issuer's keys)
//
// Every refusal is made in refusals.ts, with its reason: reasons.ts and times.ts say what came and what should have come.

export { type KeySet, MissingKeyError, remoteKeySet } from './jwks.ts'
export {
  KEY_SET_ALGORITHMS,
  LEEWAY_SECONDS,
  SECRET_ALGORITHMS,
  type VerifierOptions,
  verifierOptions,
} from './options.ts'
export { parseToken, readCredential, type UnverifiedToken } from './parse.ts'
export { wrongSignature } from './reasons.ts'
export { invalidToken, quote, reasonOf, TokenRefusal } from './refusals.ts'
export { durationOf, timeOf } from './times.ts'
export { type Claims, isExpired, isVisible, keyFor, type User, userOf } from './verify.ts'
export { type VerifiedToken, verifyToken } from './verify-token.ts'
