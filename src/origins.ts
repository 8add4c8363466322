/** Decides whether a browser origin may call: the exact origins of a list, and patterns with one wildcard. */
export interface OriginMatcher {
  (origin: string): boolean
  /** The list, as it was understood. */
  readonly entries: readonly string[]
}

/**
 * Reads a comma-separated list of origins. Entries are trimmed and normalised to `scheme://host[:port]`; one `*` is
 * allowed inside the first label of a host, with a fixed part beside it and a fixed suffix, as in
 * `https://app-*-team.vercel.app`, for preview deployments.
 *
 * @throws Error with one sentence that names the entry
 */
export function parseOrigins(list: string): OriginMatcher {
  const exact = new Set<string>()
  const patterns: Pattern[] = []
  for (const entry of list.split(',').map((part) => part.trim())) {
    if (entry === '') continue
    if (entry === '*') throw new Error('"*" would let every site call with the credentials of its visitors')
    if (entry.includes('*')) patterns.push(parsePattern(entry))
    else exact.add(parseOrigin(entry, entry))
  }
  if (exact.size + patterns.length === 0) throw new Error('the list has no origin in it')
  const matches = (origin: string) => exact.has(origin) || patterns.some((pattern) => pattern.matches(origin))
  return Object.assign(matches, { entries: [...exact, ...patterns.map(({ entry }) => entry)] })
}

const LOOPBACK = ['localhost', '127.0.0.1', '[::1]']

/** Whether a browser origin is a page of this very machine, on any port. */
export function isLoopbackOrigin(origin: string): boolean {
  const url = URL.parse(origin)
  if (!url || url.origin !== origin || !LOOPBACK.includes(url.hostname)) return false
  return url.protocol === 'http:' || url.protocol === 'https:'
}

const MAX_REPORTED = 100
const MAX_LENGTH = 200

/**
 * Reports origins that are refused, each once and 100 at most: whoever makes them up fills no log.
 * @param report called with a sentence that names the origin, the variable and its value
 */
export function refusedOrigins(
  variable: string,
  { entries }: OriginMatcher,
  report: (sentence: string) => void,
): (origin: string) => void {
  const reported = new Set<string>()
  return (origin) => {
    const shown = origin.slice(0, MAX_LENGTH)
    if (reported.size >= MAX_REPORTED || reported.has(shown)) return
    reported.add(shown)
    report(`origin ${shown} is not in ${variable} (${entries.join(', ')})`)
  }
}

function parseOrigin(text: string, entry: string): string {
  const url = URL.parse(text)
  const wrong = (why: string) =>
    new Error(`"${withoutUser(entry)}" ${why}: an origin looks like https://app.example.com`)
  if (!url || !/^https?:\/\//i.test(text) || !url.host) throw wrong('is not an origin')
  if (url.username || url.password) throw wrong('has a user name in it')
  if (url.pathname !== '/' || url.search || url.hash || /[?#]/.test(text)) throw wrong('has a path')
  return url.origin
}

// The part before an @ may be a password.
function withoutUser(entry: string): string {
  return entry.replace(/^(\w+:\/\/)?.*@/, '$1…@')
}

const STAND_IN = 'wildcard-stand-in'

interface Pattern {
  entry: string
  matches(candidate: string): boolean
}

function parsePattern(entry: string): Pattern {
  const wrong = (why: string) =>
    new Error(`"${withoutUser(entry)}" ${why}: write it like https://app-*-team.vercel.app`)
  if (entry.split('*').length > 2) throw wrong('has more than one *')
  // Punycode would scramble the placeholder.
  if (!/^[!-~]*$/.test(entry)) throw wrong('has letters beside its * that are not ASCII')
  const origin = parseOrigin(entry.replace('*', STAND_IN), entry)
  const [label = '', ...domain] = new URL(origin).hostname.split('.')
  if (!label.includes(STAND_IN)) throw wrong('has its * outside the first label of the host')
  // Anyone may deploy under a shared domain: the part after the * makes it the team's own.
  if (!/[a-z0-9]/.test(label.split(STAND_IN)[1] ?? '')) throw wrong('has no team part after its *')
  if (domain.length < 2) throw wrong('has no fixed domain')
  const [before = '', after = ''] = origin.split(STAND_IN)
  return {
    entry: `${before}*${after}`,
    matches: (candidate) =>
      candidate.startsWith(before) &&
      candidate.endsWith(after) &&
      // Within one label: letters, digits and hyphens, never a dot.
      /^[a-z0-9-]+$/.test(candidate.slice(before.length, -after.length)),
  }
}
