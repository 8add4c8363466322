import fastifyEnv from '@fastify/env'
import proxyAddr from '@fastify/proxy-addr'
import Fastify from 'fastify'
import fp from 'fastify-plugin'
import { Env } from '../schemas/env.ts'
import { type OriginMatcher, parseOrigins } from '../src/origins.ts'

/** The environment, checked and read. */
export interface Config extends Env {
  /** HS256 secrets that verify, newest first. */
  secrets: string[]
  /** The one that signs the tokens of local accounts. */
  signingSecret?: string
  /** Whether there are local accounts. */
  localAuth: boolean
  /** Whose X-Forwarded-For is believed. */
  isTrustedProxy: (address: string, hop: number) => boolean
  jwksUrl?: URL
  issuer?: string
  audience?: string
  /** What JWKS tokens must have as `iss` and `aud` unless issuer and audience say otherwise. */
  keySetOrigin?: string
  databaseUrl: string
  isAllowedOrigin: OriginMatcher
}

declare module 'fastify' {
  interface FastifyInstance {
    config: Config
  }
}

/** The environment cannot be used: one line for each fault, each naming its variable and none telling a secret. */
export class ConfigError extends Error {
  override name = 'ConfigError'
  constructor(faults: string[]) {
    super(faults.join('\n'))
  }
}

const MIN_SECRET_BYTES = 32
// Better Auth's own default, and what tutorials and templates put in its place.
const EXAMPLE_SECRET =
  /better-auth-secret-1234|change[-_ ]?(me|this|in[-_ ]prod)|your[-_ ].*(secret|key)|(secret|jwt)[-_ ]?key[-_ ]?(here|for)|example|placeholder|replace[-_ ]?(me|this)|supersecret|a-string-secret|at[-_ ]?least|09d25e094faa6ca2556c|super[-_]secret|min(imum)?[-_ ]?32|0123456789abcdef0123|1234567890123456/i
const MIN_DISTINCT_CHARACTERS = 10

export interface EnvOptions {
  env: Record<string, string | undefined>
}

/** Checks the environment against schemas/env, and reads from it what a schema cannot say. */
const plugin = fp<EnvOptions>(
  async (app, { env }) => {
    // An empty variable is an unset one: a line of .env.example that was left as it is.
    const data = Object.fromEntries(Object.entries(env).filter(([, value]) => value?.trim()))
    const faults: string[] = []
    try {
      await app.register(fastifyEnv, { confKey: 'env', schema: Env, data, env: false })
    } catch (error) {
      faults.push(...schemaFaults(error as Error))
    }
    // What the schema refuses is told with all the rest; data then only serves to find it.
    const config = interpret(faults.length > 0 ? (data as unknown as Env) : app.getEnvs<Env>(), faults)
    app.log.level = config.LOG_LEVEL
    app.decorate('config', config)
  },
  { name: 'env' },
)
export default plugin

/**
 * The environment for those who need no more of the app.
 * @throws ConfigError
 */
export async function readConfig(env: EnvOptions['env']): Promise<Config> {
  const app = Fastify()
  await app.register(plugin, { env })
  return app.config
}

function schemaFaults(
  error: Error & { errors?: { instancePath: string; message?: string; params?: object }[] },
) {
  return (error.errors ?? []).map(({ instancePath, message, params }) => {
    const name = instancePath.slice(1) as keyof typeof Env.properties
    const allowed =
      params && 'allowedValues' in params ? `: ${(params.allowedValues as string[]).join(', ')}` : ''
    return `${name} ${message}${allowed} (${Env.properties[name]?.description})`
  })
}

/** @throws ConfigError */
function interpret(env: Env, faults: string[]): Config {
  /** Runs one check; what it throws names the variable it was run for. */
  function read<T>(name: keyof Env, fn: () => T): T | undefined {
    try {
      return fn()
    } catch (error) {
      faults.push(`${name}: ${(error as Error).message}`)
      return undefined
    }
  }

  const production = env.NODE_ENV === 'production'
  const secrets = [
    ...(read('BETTER_AUTH_SECRETS', () => splitSecrets(env.BETTER_AUTH_SECRETS).map(checkSecret)) ?? []),
    ...(read('BETTER_AUTH_SECRET', () =>
      [env.BETTER_AUTH_SECRET].filter((s) => s !== undefined).map(checkSecret),
    ) ?? []),
  ]
  const localSecret = read(
    'LOCAL_AUTH_SECRET',
    () => env.LOCAL_AUTH_SECRET && checkSecret(env.LOCAL_AUTH_SECRET),
  )
  const signingSecret = localSecret || secrets[0]
  if (
    env.LOCAL_AUTH === 'on' &&
    !env.LOCAL_AUTH_SECRET &&
    !env.BETTER_AUTH_SECRET &&
    !env.BETTER_AUTH_SECRETS
  ) {
    faults.push('LOCAL_AUTH_SECRET must be set where LOCAL_AUTH is on and there is no BETTER_AUTH_SECRET')
  }
  const authUrl = read('BETTER_AUTH_URL', () => parseHttpUrl(env.BETTER_AUTH_URL))
  const jwksUrl = read('JWKS_URL', () => parseHttpUrl(env.JWKS_URL)) ?? (authUrl && jwksOf(authUrl))
  if (!env.BETTER_AUTH_SECRET && !env.BETTER_AUTH_SECRETS && !env.BETTER_AUTH_URL && !env.JWKS_URL) {
    faults.push(
      'BETTER_AUTH_SECRET or BETTER_AUTH_URL must be set, or no token can be verified. ' +
        'A secret is made with: openssl rand -base64 32',
    )
  }
  if (env.JWKS_URL && !authUrl && !(env.JWT_ISSUER && env.JWT_AUDIENCE)) {
    faults.push(
      'JWKS_URL needs BETTER_AUTH_URL, or both JWT_ISSUER and JWT_AUDIENCE: whose tokens are accepted?',
    )
  }

  const databaseUrl = env.DATABASE_URL ?? env.NEON_DATABASE_URL
  if (databaseUrl === undefined && production) {
    faults.push('DATABASE_URL must be set in production: postgres://USER:PASSWORD@HOST/DATABASE')
  }
  read(env.DATABASE_URL ? 'DATABASE_URL' : 'NEON_DATABASE_URL', () => checkDatabaseUrl(databaseUrl))

  if (env.WEB_CONCURRENCY > 1 && (databaseUrl ?? 'pglite:').startsWith('pglite:')) {
    faults.push('WEB_CONCURRENCY must be 1 on the embedded database: only one process can use it')
  }

  const origins = env.FRONTEND_URL ?? env.ALLOWED_ORIGINS
  if (origins === undefined && production) {
    faults.push(
      'FRONTEND_URL must be set in production: the origins that browsers call from, comma-separated',
    )
  }
  const isAllowedOrigin = read(env.FRONTEND_URL ? 'FRONTEND_URL' : 'ALLOWED_ORIGINS', () =>
    parseOrigins(origins ?? 'http://localhost:3000'),
  )

  const isTrustedProxy = read('TRUST_PROXY', () => parseProxies(env.TRUST_PROXY))
  read('REDIS_URL', () => checkRedisUrl(env.REDIS_URL))

  if (faults.length > 0 || !isAllowedOrigin || !isTrustedProxy) throw new ConfigError(faults)
  return {
    ...env,
    secrets: [...new Set([...secrets, ...(localSecret ? [localSecret] : [])])],
    signingSecret,
    localAuth: env.LOCAL_AUTH !== 'off' && signingSecret !== undefined,
    isTrustedProxy,
    jwksUrl,
    issuer: env.JWT_ISSUER,
    audience: env.JWT_AUDIENCE,
    keySetOrigin: authUrl?.origin,
    databaseUrl: databaseUrl ?? 'pglite:.data',
    isAllowedOrigin,
  }
}

/** `2:new,1:old`, as Better Auth writes it, or `new,old`. */
function splitSecrets(list = ''): string[] {
  const secrets = list.split(',').map((entry) => entry.trim().replace(/^\d+:/, ''))
  if (list && secrets.some((secret) => secret === '')) throw new Error('has an empty entry')
  return list ? secrets : []
}

function checkSecret(secret: string): string {
  const bytes = Buffer.byteLength(secret)
  const make = 'Make one with: openssl rand -base64 32'
  if (bytes < MIN_SECRET_BYTES)
    throw new Error(`is ${bytes} bytes long, at least ${MIN_SECRET_BYTES} are needed. ${make}`)
  if (EXAMPLE_SECRET.test(secret) || new Set(secret).size < MIN_DISTINCT_CHARACTERS) {
    throw new Error(`is an example or easy to guess, so anyone could sign tokens. ${make}`)
  }
  return secret
}

function parseHttpUrl(text: string | undefined): URL | undefined {
  if (text === undefined) return undefined
  const url = URL.parse(text)
  if (!url || !/^https?:$/.test(url.protocol) || !url.host) {
    throw new Error('is not an http(s) address, such as https://app.example.com')
  }
  if (url.username || url.password) throw new Error('has a user name in it')
  return url
}

/** As Better Auth does it: /api/auth, unless the address has a path of its own. */
function jwksOf(authUrl: URL): URL {
  const path = authUrl.pathname.replace(/\/+$/, '') || '/api/auth'
  return new URL(`${authUrl.origin}${path}/jwks`)
}

function parseProxies(list = ''): Config['isTrustedProxy'] {
  const proxies = list.split(',').map((proxy) => proxy.trim())
  if (list && proxies.some((proxy) => proxy === '' || /^(\d+|true|false)$/.test(proxy))) {
    throw new Error(
      'is not a list of addresses or networks, such as 10.0.0.0/8: how many there are says nothing',
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

function checkRedisUrl(text: string | undefined): void {
  if (text !== undefined && !/^rediss?:$/.test(URL.parse(text)?.protocol ?? '')) {
    throw new Error('is not redis://HOST:PORT or rediss://HOST:PORT')
  }
}

/** @throws Error with one sentence */
export function checkDatabaseUrl(text: string | undefined): void {
  if (text === undefined || /^pglite:.+$/.test(text)) return
  if (!/^postgres(ql)?:$/.test(URL.parse(text)?.protocol ?? '')) {
    throw new Error(
      'is neither postgres://USER:PASSWORD@HOST/DATABASE nor pglite:DIRECTORY nor pglite:memory',
    )
  }
}
