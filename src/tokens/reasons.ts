import type { HttpProblem } from '../problem.ts'
import type { KeySet } from './jwks.ts'
import { adviceOnProvider, differenceOf, SEND_JWT } from './likely.ts'
import { KEY_SET_ALGORITHMS, SECRET_ALGORITHMS, type VerifierOptions } from './options.ts'
import type { UnverifiedToken } from './parse.ts'
import { invalidToken, quote } from './refusals.ts'

// The refusals of what is verified, each with its likeliest repair. None of them decides anything: verify.ts does.

const issuedElsewhere = ({ payload }: UnverifiedToken, { issuer, keySetOrigin }: VerifierOptions) =>
  adviceOnProvider(payload.iss, [issuer, keySetOrigin])

/** No setting accepts the header's `alg`. */
export function wrongAlgorithm(token: UnverifiedToken, options: VerifierOptions): HttpProblem {
  const accepted = [
    ...(options.secrets.length > 0 ? SECRET_ALGORITHMS : []),
    ...(options.keySet ? KEY_SET_ALGORITHMS : []),
  ]
  const { alg } = token.header
  return invalidToken({
    rule: 'alg',
    what: 'The algorithm (alg)',
    actual: quote(alg),
    expected: accepted.map(quote).join(' or '),
    advice: issuedElsewhere(token, options) ?? adviceOnAlgorithm(alg),
  })
}

function adviceOnAlgorithm(alg: unknown): string {
  if (SECRET_ALGORITHMS.includes(alg as never)) {
    return (
      'It is signed with a shared secret, and none is set: set BETTER_AUTH_SECRET to that of its signer, or send the ' +
      "token of Better Auth's jwt plugin."
    )
  }
  if (KEY_SET_ALGORITHMS.includes(alg as never)) {
    return (
      "It is signed with a private key, as by Better Auth's jwt plugin: set BETTER_AUTH_URL to the address of the " +
      'Better Auth server.'
    )
  }
  return alg === 'none' ? `It is not signed. ${SEND_JWT}` : 'Its signer must use what is expected.'
}

/**
 * The key set has no key that fits the header.
 * @param cause what the key set said
 */
export function unknownKey(
  token: UnverifiedToken,
  options: VerifierOptions,
  keySet: KeySet,
  cause: Error,
): HttpProblem {
  const { header, payload } = token
  const known = keySet.known().map(({ kid, alg }) => `${quote(kid)} (${quote(alg)})`)
  const names = known.length > 5 ? [...known.slice(0, 5), `${known.length - 5} more`] : known
  const server = options.issuer ?? options.keySetOrigin
  const advice =
    server !== undefined && payload.iss !== server
      ? `Its issuer (iss) is ${quote(payload.iss)}, not ${quote(server)}: does BETTER_AUTH_URL name the server that issued it?`
      : 'If Better Auth has new keys since, sign in again for a new token.'
  return invalidToken({
    rule: 'kid',
    what: 'The key id (kid)',
    actual: `${quote(header.kid)} with the algorithm (alg) ${quote(header.alg)}`,
    expected: `one of ${keySet.address}, which has ${names.join(', ') || 'none yet'}`,
    advice: issuedElsewhere(token, options) ?? advice,
    cause,
  })
}

/** The signature is none of the key that must have made it. */
export function wrongSignature(
  token: UnverifiedToken,
  options: VerifierOptions,
  cause?: unknown,
): HttpProblem {
  const shared = SECRET_ALGORITHMS.includes(token.header.alg as never)
  const many = options.secrets.length > 1 ? `one of the ${options.secrets.length} secrets` : 'the secret'
  return invalidToken({
    rule: 'signature',
    what: 'The signature',
    actual: 'of another key',
    expected: shared
      ? `that of ${many} set in BETTER_AUTH_SECRET, BETTER_AUTH_SECRETS or LOCAL_AUTH_SECRET`
      : `that of the key ${quote(token.header.kid)} of ${options.keySet?.address}`,
    advice:
      issuedElsewhere(token, options) ??
      (shared
        ? 'Set BETTER_AUTH_SECRET to the very secret that the token is signed with.'
        : 'It was changed on its way, or issued by another server.'),
    cause,
  })
}

/** @param expected the value of JWT_ISSUER or JWT_AUDIENCE, or else the origin of BETTER_AUTH_URL */
export function wrongAddress(
  claim: 'iss' | 'aud',
  expected: string,
  token: UnverifiedToken,
  options: VerifierOptions,
): HttpProblem {
  const actual = token.payload[claim]
  const [name, variable, fixed] =
    claim === 'iss'
      ? ['issuer', 'JWT_ISSUER', options.issuer]
      : ['audience', 'JWT_AUDIENCE', options.audience]
  const source =
    fixed === undefined
      ? `Set BETTER_AUTH_URL to the baseURL of Better Auth, or ${variable} to the ${claim} of its tokens.`
      : `${variable} says so: set it to the ${claim} of Better Auth's tokens.`
  const repair = (claim === 'iss' && issuedElsewhere(token, options)) || source
  const difference = [actual]
    .flat()
    .map((one) => differenceOf(one, expected))
    .find(Boolean)
  return invalidToken({
    rule: claim,
    what: `The ${name} (${claim})`,
    actual: quote(actual),
    expected: quote(expected),
    advice: [difference, repair].filter(Boolean).join(' '),
  })
}
