import proxyAddr from '@fastify/proxy-addr'
import { parseHosts } from './database/index.ts'

// What a variable of the environment may hold. Each function checks or parses one, and throws an error that says in one
// sentence what is wrong with it, without its value.

const MIN_SECRET_BYTES = 32
const MIN_DISTINCT_CHARACTERS = 10
// Parts of secrets that anyone can look up: Better Auth's default, and those of tutorials and templates.
const EXAMPLE_SECRETS = [
  /better-auth-secret-1234/i, // Better Auth's default
  /09d25e094faa6ca2556c/i, // FastAPI's tutorial
  /a-string-secret/i, // jwt.io
  /supersecret|super[-_]secret/i,
  /change[-_ ]?(me|this|in[-_ ]prod)/i,
  /replace[-_ ]?(me|this)/i,
  /your[-_ ].*(secret|key)/i,
  /(secret|jwt)[-_ ]?key[-_ ]?(here|for)/i,
  /example|placeholder/i,
  /at[-_ ]?least|min(imum)?[-_ ]?32/i,
  /0123456789abcdef0123|1234567890123456/i,
]

/** `2:new,1:old`, as Better Auth writes it, or `new,old`. */
export function splitSecrets(list = ''): string[] {
  const secrets = list.split(',').map((entry) => entry.trim().replace(/^\d+:/, ''))
  if (list && secrets.some((secret) => secret === '')) throw new Error('has an empty entry')
  return list ? secrets : []
}

export function checkSecret(secret: string): string {
  const bytes = Buffer.byteLength(secret)
  const make = 'Make one with: openssl rand -base64 32'
  if (bytes < MIN_SECRET_BYTES)
    throw new Error(`is ${bytes} bytes long, at least ${MIN_SECRET_BYTES} are needed. ${make}`)
  if (
    EXAMPLE_SECRETS.some((example) => example.test(secret)) ||
    new Set(secret).size < MIN_DISTINCT_CHARACTERS
  ) {
    throw new Error(`is an example or easy to guess, so anyone could sign tokens. ${make}`)
  }
  return secret
}

export function checkMetricsToken(token: string | undefined): void {
  // What a bearer token may consist of (RFC 6750, 2.1).
  if (token !== undefined && !/^[\w.~+/-]{16,}=*$/.test(token)) {
    throw new Error(
      'is not 16 or more letters, digits and -._~+/ alone. Make one with: openssl rand -base64 24',
    )
  }
}

export function parseHttpUrl(text: string | undefined): URL | undefined {
  if (text === undefined) return undefined
  const url = URL.parse(text)
  if (!url || !/^https?:$/.test(url.protocol) || !url.host) {
    throw new Error('is not an http(s) address, such as https://app.example.com')
  }
  if (url.username || url.password) throw new Error('has a user name in it')
  return url
}

export function parseProxies(list = ''): (address: string, hop: number) => boolean {
  const proxies = list.split(',').map((proxy) => proxy.trim())
  if (list && proxies.some((proxy) => proxy === '' || /^(\d+|true|false)$/.test(proxy))) {
    throw new Error(
      'is not a list of addresses or networks, such as 10.0.0.0/8: a number of proxies is not enough',
    )
  }
  try {
    return proxyAddr.compile(list ? proxies : [])
  } catch (error) {
    const { message } = error as Error
    throw new Error(`is not a list of addresses or networks, such as 10.0.0.0/8 (${message})`, {
      cause: error,
    })
  }
}

export function parseAddressHeader(text: string | undefined): string | undefined {
  const name = text?.trim().toLowerCase()
  if (name && !/^[\w!#$%&'*+.^`|~-]+$/.test(name))
    throw new Error('is not the name of a header, such as x-real-ip')
  if (name && /^(x-)?forwarded(-for)?$/.test(name))
    throw new Error(
      'names a header with a list of addresses: name one with a single address, such as x-real-ip',
    )
  return name
}

export function checkRedisUrl(text: string | undefined): void {
  if (text !== undefined && !/^rediss?:$/.test(URL.parse(text)?.protocol ?? '')) {
    throw new Error('is not redis://HOST:PORT or rediss://HOST:PORT')
  }
}

export function checkDatabaseUrl(text: string | undefined): void {
  if (text === undefined || /^pglite:.+$/.test(text)) return
  const [first = ''] = parseHosts(text).urls
  if (!/^postgres(ql)?:$/.test(URL.parse(first)?.protocol ?? '')) {
    throw new Error(
      'is neither postgres://USER:PASSWORD@HOST/DATABASE nor pglite:DIRECTORY nor pglite:memory',
    )
  }
}
