// Guesses at what was sent instead of Better Auth's JWT, and why two addresses that look alike are not the same.

export const SEND_JWT = 'Send the JWT that GET /api/auth/token of Better Auth answers.'

const OPAQUE: [form: RegExp, kind: string][] = [
  [/^(null|undefined|\[object)/, 'a value that the front end turned into text before it had a token'],
  [/^["'`<]/, 'in quotes or brackets'],
  [/^\$\{?\w/, 'the name of a variable instead of its value'],
  [/^[\w.-]*session_(token|data)=/, "Better Auth's session cookie"],
  [/^(gh[opsur]_|github_pat_)/, "GitHub's access token"],
  [/^ya29\./, "Google's access token"],
  // As set by Better Auth: an id, and the signature in base64, often URL-encoded.
  [
    /^[A-Za-z0-9]{32}\.[A-Za-z0-9+/%_=-]{40,60}$/,
    "the value of Better Auth's session cookie (token.signature)",
  ],
  [/^[A-Za-z0-9]{32}$/, "Better Auth's session token"],
  [/^[\w-]+\.[\w-]*\.[\w-]+\.[\w-]+\.[\w-]+$/, 'an encrypted token (five parts)'],
  [/^eyJ[\w-]*\.[\w-]+\.?$/, 'without a signature'],
  [/^eyJ[\w+/=-]*\.[\w+/=-]+\.[\w+/=-]+$/, 'cut off, or not base64url without padding'],
]

/** What a text that is no JWT seems to be. */
export const kindOf = (text: string): string | undefined => OPAQUE.find(([form]) => form.test(text))?.[1]

const PROVIDERS: [issuer: RegExp, name: string][] = [
  [/^(https:\/\/)?accounts\.google\.com$/, 'Google'],
  [/^https:\/\/appleid\.apple\.com$/, 'Apple'],
  [/^https:\/\/(github\.com|token\.actions\.githubusercontent\.com)(\/|$)/, 'GitHub'],
  [/^https:\/\/[\w.-]+\.auth0\.com\/?$/, 'Auth0'],
  [/^https:\/\/(clerk\.[\w.-]+|[\w.-]+\.clerk\.accounts\.dev)$/, 'Clerk'],
  [/^(supabase$|https:\/\/[\w.-]+\.supabase\.(co|in)(\/|$))/, 'Supabase'],
  [/^https:\/\/(login\.microsoftonline\.com|sts\.windows\.net)\//, 'Microsoft'],
  [/^https:\/\/securetoken\.google\.com\//, 'Firebase'],
]

/** Advice for a token that another service has issued: its `iss` says so, and is none of those that are accepted. */
export function adviceOnProvider(iss: unknown, accepted: readonly unknown[]): string | undefined {
  if (typeof iss !== 'string' || accepted.includes(iss)) return undefined
  const name = PROVIDERS.find(([issuer]) => issuer.test(iss))?.[1]
  return name && `It was issued by ${name}, not by Better Auth. ${SEND_JWT}`
}

const LOOPBACK = ['localhost', '127.0.0.1', '[::1]']

/** In what two addresses differ, where they are close to each other. */
export function differenceOf(actual: unknown, expected: string): string | undefined {
  if (typeof actual !== 'string') return undefined
  if (actual === `${expected}/` || expected === `${actual}/`) return 'They differ in the slash at the end.'
  const [a, b] = [URL.parse(actual), URL.parse(expected)]
  if (!a || !b) return undefined
  if (a.origin === b.origin) return 'They differ in the path.'
  if (a.hostname === b.hostname)
    return `They differ in the ${a.protocol === b.protocol ? 'port' : 'scheme, http or https'}.`
  if (LOOPBACK.includes(a.hostname) && LOOPBACK.includes(b.hostname))
    return `${a.hostname} and ${b.hostname} are different names, although both are this machine.`
  return undefined
}
