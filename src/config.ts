import envSchema from 'env-schema'
import { Env } from '../schemas/env.ts'
import { parseHosts } from './database/index.ts'
import { parseOrigins } from './origins.ts'
import {
  checkDatabaseUrl,
  checkMetricsToken,
  checkRedisUrl,
  checkSecret,
  parseAddressHeader,
  parseHttpUrl,
  parseProxies,
  splitSecrets,
} from './variables.ts'

/** The environment, validated and parsed. */
export interface Config extends Env {
  /** HS256 secrets that tokens are verified with; the first signs. */
  secrets: string[]
  /** Signs the tokens of local accounts. */
  signingSecret?: string
  /** Whether local accounts are on. */
  localAuth: boolean
  jwksUrl?: URL
  issuer?: string
  audience?: string
  /** The `iss` and `aud` that JWKS tokens must have where issuer and audience are not set. */
  keySetOrigin?: string
  databaseUrl: string
  /** How migrations connect. */
  owner: OwnerConnection
  /** The origins that browsers may call from, comma-separated: plugins/cors parses them. */
  frontendUrl: string
  /** Whether the X-Forwarded-For of this address is trusted. */
  isTrustedProxy: (address: string, hop: number) => boolean
  /** The header in which those proxies send the client's address, in lower case. */
  clientIpHeader?: string
}

/** How migrations connect. */
export interface OwnerConnection {
  url: string
  /** The service's own login, if it is a different one: migrations let it take the roles. */
  login?: string
}

/** Raw environment variables: process.env, or those of a test. */
export type Variables = Readonly<Record<string, string | undefined>>

/**
 * The environment is invalid. The message has one line for each fault, which names the variable and reveals no secret.
 */
export class ConfigError extends Error {
  override name = 'ConfigError'
  constructor(faults: string[]) {
    super(faults.join('\n'))
  }
}

/** The faults found so far, one sentence each. */
class Faults {
  readonly list: string[] = []

  add(fault: string): void {
    this.list.push(fault)
  }

  /** Runs one check; an error that it throws is a fault of this variable. */
  of<T>(name: keyof Env, check: () => T): T | undefined {
    try {
      return check()
    } catch (error) {
      this.add(`${name}: ${(error as Error).message}`)
      return undefined
    }
  }
}

/** The variables that are set: an empty one, such as a line of .env.example left as it is, counts as unset. */
export function presentVariables(variables: Variables): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => Boolean(entry[1]?.trim())),
  )
}

/**
 * Reads the environment without an app.
 * @throws ConfigError
 */
export function readConfig(variables: Variables): Config {
  const data = presentVariables(variables)
  let env: Env
  try {
    env = envSchema<Env>({ schema: Env, data, env: false })
  } catch (error) {
    return refuseEnv(error, data)
  }
  return interpretEnv(env)
}

/**
 * Reads what migrations need; the rest of the environment may be missing.
 * @throws ConfigError
 */
export function readOwnerConfig(variables: Variables): OwnerConnection & { rls: boolean } {
  const { DATABASE_URL, NEON_DATABASE_URL, DATABASE_OWNER_URL, DATABASE_RLS } = presentVariables(variables)
  const faults = new Faults()
  const databaseUrl = DATABASE_URL ?? NEON_DATABASE_URL
  if (!databaseUrl) {
    faults.add(
      'DATABASE_URL is not set: postgres://USER:PASSWORD@HOST/DATABASE. ' +
        'The embedded database needs no migrate: it is migrated when it starts.',
    )
  }
  faults.of(DATABASE_URL ? 'DATABASE_URL' : 'NEON_DATABASE_URL', () => checkDatabaseUrl(databaseUrl))
  const owner = faults.of('DATABASE_OWNER_URL', () => {
    checkDatabaseUrl(DATABASE_OWNER_URL)
    return ownerOf(databaseUrl ?? '', DATABASE_OWNER_URL)
  })
  if (!owner || faults.list.length > 0) throw new ConfigError(faults.list)
  return { ...owner, rls: DATABASE_RLS !== 'off' }
}

/**
 * Reports the schema's faults together with all others that can be found.
 * @param error thrown by env-schema
 * @throws ConfigError
 */
export function refuseEnv(error: unknown, data: Record<string, string>): never {
  const faults = new Faults()
  for (const fault of schemaFaults(error as SchemaError)) faults.add(fault)
  interpret(data as unknown as Env, faults)
  throw new ConfigError(faults.list)
}

/**
 * Parses and checks what a schema cannot express.
 * @param env valid for schemas/env
 * @throws ConfigError
 */
export function interpretEnv(env: Env): Config {
  const faults = new Faults()
  const config = interpret(env, faults)
  if (faults.list.length > 0) throw new ConfigError(faults.list)
  return config as Config
}

type SchemaError = Error & { errors?: { instancePath: string; message?: string; params?: object }[] }

function schemaFaults(error: SchemaError): string[] {
  return (error.errors ?? []).map(({ instancePath, message, params }) => {
    const name = instancePath.slice(1) as keyof typeof Env.properties
    const allowed =
      params && 'allowedValues' in params ? `: ${(params.allowedValues as string[]).join(', ')}` : ''
    return `${name} ${message}${allowed} (${Env.properties[name]?.description})`
  })
}

/** Parts that have faults are missing. */
function interpret(env: Env, faults: Faults): Partial<Config> {
  return {
    ...env,
    ...interpretTokens(env, faults),
    ...interpretDatabase(env, faults),
    ...interpretBrowsers(env, faults),
    ...interpretNetwork(env, faults),
    ...interpretTelemetry(env, faults),
  }
}

function interpretTokens(env: Env, faults: Faults): Partial<Config> {
  const hasSecret = Boolean(env.BETTER_AUTH_SECRET || env.BETTER_AUTH_SECRETS)
  const secrets = [
    ...(faults.of('BETTER_AUTH_SECRETS', () => splitSecrets(env.BETTER_AUTH_SECRETS).map(checkSecret)) ?? []),
    ...(faults.of('BETTER_AUTH_SECRET', () =>
      [env.BETTER_AUTH_SECRET].filter((secret) => secret !== undefined).map(checkSecret),
    ) ?? []),
  ]
  const localSecret = faults.of(
    'LOCAL_AUTH_SECRET',
    () => env.LOCAL_AUTH_SECRET && checkSecret(env.LOCAL_AUTH_SECRET),
  )
  const signingSecret = localSecret || secrets[0]
  if (env.LOCAL_AUTH === 'on' && !env.LOCAL_AUTH_SECRET && !hasSecret) {
    faults.add('LOCAL_AUTH_SECRET must be set where LOCAL_AUTH is on and there is no BETTER_AUTH_SECRET')
  }
  const authUrl = faults.of('BETTER_AUTH_URL', () => parseHttpUrl(env.BETTER_AUTH_URL))
  const jwksUrl = faults.of('JWKS_URL', () => parseHttpUrl(env.JWKS_URL)) ?? (authUrl && jwksOf(authUrl))
  if (!hasSecret && !env.BETTER_AUTH_URL && !env.JWKS_URL) {
    faults.add(
      'BETTER_AUTH_SECRET or BETTER_AUTH_URL must be set, or no token can be verified. ' +
        'Make a secret with: openssl rand -base64 32',
    )
  }
  if (env.JWKS_URL && !authUrl && !(env.JWT_ISSUER && env.JWT_AUDIENCE)) {
    faults.add(
      'JWKS_URL needs BETTER_AUTH_URL, or both JWT_ISSUER and JWT_AUDIENCE, which say whose tokens are accepted',
    )
  }
  return {
    secrets: [...new Set([...secrets, ...(localSecret ? [localSecret] : [])])],
    signingSecret,
    localAuth: env.LOCAL_AUTH !== 'off' && signingSecret !== undefined,
    jwksUrl,
    issuer: env.JWT_ISSUER,
    audience: env.JWT_AUDIENCE,
    keySetOrigin: authUrl?.origin,
  }
}

function interpretDatabase(env: Env, faults: Faults): Partial<Config> {
  const url = env.DATABASE_URL ?? env.NEON_DATABASE_URL
  if (url === undefined && env.NODE_ENV === 'production') {
    faults.add('DATABASE_URL must be set in production: postgres://USER:PASSWORD@HOST/DATABASE')
  }
  faults.of(env.DATABASE_URL ? 'DATABASE_URL' : 'NEON_DATABASE_URL', () => checkDatabaseUrl(url))
  const databaseUrl = url ?? 'pglite:.data'
  const owner = faults.of('DATABASE_OWNER_URL', () => {
    checkDatabaseUrl(env.DATABASE_OWNER_URL)
    return ownerOf(databaseUrl, env.DATABASE_OWNER_URL)
  })
  return { databaseUrl, owner }
}

function interpretBrowsers(env: Env, faults: Faults): Partial<Config> {
  const origins = env.FRONTEND_URL ?? env.ALLOWED_ORIGINS
  if (origins === undefined && env.NODE_ENV === 'production') {
    faults.add('FRONTEND_URL must be set in production: the origins that browsers call from, comma-separated')
  }
  const frontendUrl = origins ?? 'http://localhost:3000'
  faults.of(env.FRONTEND_URL ? 'FRONTEND_URL' : 'ALLOWED_ORIGINS', () => parseOrigins(frontendUrl))
  return { frontendUrl }
}

function interpretNetwork(env: Env, faults: Faults): Partial<Config> {
  faults.of('REDIS_URL', () => checkRedisUrl(env.REDIS_URL))
  if (env.CLIENT_IP_HEADER && !env.TRUST_PROXY) {
    faults.add('CLIENT_IP_HEADER needs TRUST_PROXY, which says whose headers are believed')
  }
  return {
    isTrustedProxy: faults.of('TRUST_PROXY', () => parseProxies(env.TRUST_PROXY)),
    clientIpHeader: faults.of('CLIENT_IP_HEADER', () => parseAddressHeader(env.CLIENT_IP_HEADER)),
  }
}

function interpretTelemetry(env: Env, faults: Faults): Partial<Config> {
  faults.of('METRICS_TOKEN', () => checkMetricsToken(env.METRICS_TOKEN))
  faults.of('OTEL_EXPORTER_OTLP_ENDPOINT', () => parseHttpUrl(env.OTEL_EXPORTER_OTLP_ENDPOINT))
  return {}
}

/** As in Better Auth: /api/auth, unless the address has a path. */
function jwksOf(authUrl: URL): URL {
  const path = authUrl.pathname.replace(/\/+$/, '') || '/api/auth'
  return new URL(`${authUrl.origin}${path}/jwks`)
}

function ownerOf(databaseUrl: string, ownerUrl: string | undefined): OwnerConnection {
  if (!ownerUrl) return { url: databaseUrl }
  const [first = ''] = parseHosts(databaseUrl).urls
  const login = decodeURIComponent(URL.parse(first)?.username ?? '')
  if (!login) throw new Error('needs a DATABASE_URL that names the login of the service')
  return { url: ownerUrl, login }
}
