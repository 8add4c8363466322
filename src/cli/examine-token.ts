import type { Config } from '../config.ts'
import {
  durationOf,
  parseToken,
  quote,
  reasonOf,
  timeOf,
  type VerifiedToken,
  verifierOptions,
  verifyToken,
} from '../tokens/index.ts'
import { HttpProblem } from '../problem.ts'
import type { Examination } from './doctor.ts'
import { explainNetwork } from './network.ts'

/** A token as it was copied: with its header, its scheme, quotes and blanks around it. */
export function cleanToken(text: string): string {
  return text.replace(/^(["'`\s]|authorization:|bearer\s)+/i, '').replace(/["'`\s]+$/, '')
}

/**
 * Whether the service would accept a token, and the first rule that refuses it. Fetches the issuer's keys; the token goes nowhere.
 * @param text as it was copied
 * @param now milliseconds since 1970
 */
export async function examineToken(text: string, config: Config, now = Date.now()): Promise<Examination> {
  const check = 'token'
  const credential = cleanToken(text)
  const options = verifierOptions(config)
  try {
    const verified = await verifyToken(credential, options, now)
    return { check, advice: [], notes: describe(verified, config, options.keySet?.address, now) }
  } catch (error) {
    if (!(error instanceof HttpProblem)) throw error
    const reason = reasonOf(error)?.message
    if (reason) return { check, advice: [reason], notes: claimsOf(credential) }
    return {
      check,
      advice: [
        `It cannot be verified: the keys at ${options.keySet?.address} cannot be read ` +
          `(${explainNetwork(error.cause)}). Is BETTER_AUTH_URL right?`,
      ],
    }
  }
}

function describe(
  { user, token, key }: VerifiedToken,
  config: Config,
  address: string | undefined,
  now: number,
): string[] {
  const { header } = token
  const { exp, banned, disabled } = user.claims
  const by = header.alg === 'HS256' ? nameOf(key, config) : `the key ${quote(header.kid)} of ${address}`
  return [
    `It is that of user ${quote(user.id)}${user.email ? `, ${quote(user.email)}` : ''}.`,
    `It was verified with ${by} (${quote(header.alg)}).`,
    `It is good until ${timeOf(exp)}, for ${durationOf(Math.max(exp - now / 1000, 0))}.`,
    ...(banned === true || disabled === true
      ? ['The user is banned or disabled: requests are refused.']
      : []),
  ]
}

/** The variable that a secret comes from. */
function nameOf(
  secret: string,
  { BETTER_AUTH_SECRET, BETTER_AUTH_SECRETS, LOCAL_AUTH_SECRET }: Config,
): string {
  if (secret === BETTER_AUTH_SECRET) return 'BETTER_AUTH_SECRET'
  if (secret === LOCAL_AUTH_SECRET) return 'LOCAL_AUTH_SECRET'
  return BETTER_AUTH_SECRETS === undefined ? 'a secret' : 'one of BETTER_AUTH_SECRETS'
}

/** What it says of itself, where it can be read. */
function claimsOf(credential: string): string[] {
  try {
    const { header, payload } = parseToken(credential)
    const show = (from: Record<string, unknown>, names: string[]) =>
      names
        .filter((name) => from[name] !== undefined)
        .map((name) => `${name} ${quote(from[name])}`)
        .join(', ')
    return [
      `header: ${show(header, ['alg', 'kid', 'typ'])}`,
      `payload: ${show(payload, ['iss', 'aud', 'sub', 'user_id', 'id', 'iat', 'nbf', 'exp'])}`,
    ]
  } catch {
    return []
  }
}
