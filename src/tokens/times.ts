import type { HttpProblem } from '../problem.ts'
import { invalidToken, quote, tokenExpired } from './refusals.ts'

/** @param now milliseconds since 1970 */
export function expired(exp: number, now: number): HttpProblem {
  return tokenExpired({
    rule: 'exp',
    what: 'The end of the token (exp)',
    actual: `${timeOf(exp)}, ${durationOf(now / 1000 - exp)} ago`,
    expected: 'a time to come',
    advice: "Fetch a new one: those of Better Auth's jwt plugin last 15 minutes.",
  })
}

/** @param now milliseconds since 1970 */
export function notYet(claim: 'nbf' | 'iat', start: unknown, now: number): HttpProblem {
  const ahead = typeof start === 'number' ? start - now / 1000 : Number.NaN
  return invalidToken({
    rule: claim,
    what: claim === 'iat' ? 'The time of issue (iat)' : 'The start of the token (nbf)',
    actual: ahead > 0 ? `${timeOf(start as number)}, ${durationOf(ahead)} ahead of this clock` : quote(start),
    expected: 'a time, in seconds since 1970, that has come',
    advice:
      ahead > 1e11
        ? 'It seems to be in milliseconds.'
        : ahead > 0
          ? 'The clocks of the two servers differ.'
          : '',
  })
}

/** Without an end, or with one that is no time. */
export const noEnd = (exp: unknown): HttpProblem =>
  invalidToken({
    rule: 'exp',
    what: 'The end of the token (exp)',
    actual: quote(exp),
    expected: 'a time in seconds since 1970',
    advice: 'A token without an end is never accepted.',
  })

/** Seconds since 1970, as a date where there is one. */
export function timeOf(seconds: number): string {
  const date = new Date(seconds * 1000)
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString()
}

const UNITS = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
  [1, 's'],
] as const

/** Seconds, in their two largest units. */
export function durationOf(seconds: number): string {
  let rest = Math.round(seconds)
  const parts = UNITS.flatMap(([size, unit]) => {
    const count = Math.floor(rest / size)
    rest %= size
    return count > 0 ? [`${count} ${unit}`] : []
  })
  return parts.slice(0, 2).join(' ') || '0 s'
}
