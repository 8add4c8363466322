import { durationOf, LEEWAY_SECONDS, quote } from '../tokens/index.ts'
import type { Examination } from './doctor.ts'
import { explainNetwork } from './network.ts'

const TIMEOUT = 5000

/** Whether the issuer publishes keys, and whether its clock is that of this machine. */
export async function* examineIssuer(url: URL): AsyncGenerator<Examination> {
  const check = `keys of the token issuer at ${url.origin}${url.pathname}`
  const asked = Date.now()
  try {
    const response = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(TIMEOUT) })
    const answered = Date.now()
    yield { check, ...(await examineKeys(response)) }
    const date = Date.parse(response.headers.get('date') ?? '')
    if (!Number.isNaN(date)) yield examineClock(date, (asked + answered) / 2)
  } catch (error) {
    yield { check, advice: [`They cannot be read (${explainNetwork(error)}). Is BETTER_AUTH_URL right?`] }
  }
}

async function examineKeys(response: Response): Promise<Omit<Examination, 'check'>> {
  if (response.status !== 200) {
    await response.body?.cancel()
    return {
      advice: [
        `The answer is ${response.status}, expected 200. Is BETTER_AUTH_URL right, and is the jwt plugin on?`,
      ],
    }
  }
  const body: unknown = await response.json().catch(() => undefined)
  const keys = (body as { keys?: unknown } | null | undefined)?.keys
  if (!Array.isArray(keys))
    return { advice: ['The answer is no JSON Web Key Set. Is BETTER_AUTH_URL right?'] }
  if (keys.length === 0)
    return { advice: ['There is no key there yet. Is the jwt plugin on, and has anyone asked for a token?'] }
  return { advice: [], notes: keys.map((key) => `kid ${quote(key?.kid)}, alg ${quote(key?.alg)}`) }
}

/** Both in milliseconds since 1970; `Date` headers have whole seconds. */
export function examineClock(theirs: number, ours: number): Examination {
  const seconds = Math.round((theirs - ours) / 1000)
  const side = seconds > 0 ? 'ahead of' : 'behind'
  const difference = `The clock of the issuer is ${durationOf(Math.abs(seconds))} ${side} that of this machine`
  if (Math.abs(seconds) <= LEEWAY_SECONDS) return { check: 'clock', advice: [] }
  return {
    check: 'clock',
    advice: [`${difference}, and ${LEEWAY_SECONDS} s are allowed. Set both by a time server.`],
  }
}
