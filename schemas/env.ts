import { type Static, Type } from '@sinclair/typebox'

const optional = (description: string, options = {}) =>
  Type.Optional(Type.String({ description, ...options }))
const oneOf = <const T extends string>(values: T[], description: string, fallback?: NoInfer<T>) =>
  Type.Unsafe<T>({ type: 'string', enum: values, description, ...(fallback && { default: fallback }) })

/** Every environment variable, in the order of .env.example. src/config.ts checks what a schema cannot express. */
export const Env = Type.Object({
  NODE_ENV: oneOf(
    ['development', 'test', 'production'],
    'production refuses to start without DATABASE_URL and FRONTEND_URL, and does not migrate at start',
    'development',
  ),
  BETTER_AUTH_SECRET: optional('secret shared with Better Auth, at least 32 bytes: accepts HS256 tokens'),
  BETTER_AUTH_SECRETS: optional(
    'several secrets while rotating: "2:new,1:old" or "old,new". All verify, the first signs',
  ),
  BETTER_AUTH_URL: optional('address of the Better Auth server: accepts the tokens of its jwt plugin'),
  JWKS_URL: optional('where the public keys are, if not at BETTER_AUTH_URL + /api/auth/jwks'),
  JWT_ISSUER: optional('the only `iss` accepted; default for JWKS tokens: the origin of BETTER_AUTH_URL'),
  JWT_AUDIENCE: optional('the only `aud` accepted; default for JWKS tokens: the origin of BETTER_AUTH_URL'),
  LOCAL_AUTH: Type.Optional(
    oneOf(['on', 'off'], 'off: no sign-up and sign-in here, for hosts where Better Auth owns /api/auth'),
  ),
  LOCAL_AUTH_SECRET: optional('signs the tokens of local accounts; default: the first of the secrets above'),
  JWT_EXPIRATION_DAYS: Type.Number({
    exclusiveMinimum: 0,
    maximum: 365,
    default: 7,
    description: 'days that the token of a local account is valid',
  }),
  ACCESS_TOKEN_EXPIRE_MINUTES: Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      maximum: 525_600,
      description: 'minutes that the token of a local account is valid; overrides the days',
    }),
  ),
  REFRESH_TOKEN_EXPIRATION_DAYS: Type.Number({
    exclusiveMinimum: 0,
    maximum: 3650,
    default: 30,
    description: 'days that a refresh token is valid',
  }),
  BCRYPT_COST: Type.Integer({
    minimum: 4,
    maximum: 15,
    default: 12,
    description: 'bcrypt cost: each step doubles the time of a password hash',
  }),
  DATABASE_URL: optional(
    'postgres://…, with several hosts as a:5432,b:5433 or, for the embedded PostgreSQL, pglite:DIRECTORY or pglite:memory; default pglite:.data',
  ),
  NEON_DATABASE_URL: optional('used if DATABASE_URL is not set'),
  DATABASE_OWNER_URL: optional(
    'the login that owns the tables, for migrations, if that of DATABASE_URL owns nothing',
  ),
  DATABASE_POOL_MAX: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 10,
    description: 'connections to PostgreSQL',
  }),
  DATABASE_TIMEOUT: Type.Integer({
    minimum: 100,
    maximum: 600_000,
    default: 5000,
    description: 'milliseconds that the statements of a request have in all',
  }),
  DATABASE_PREPARE: oneOf(
    ['on', 'off'],
    'off: no prepared statements, for a pooler in transaction mode without support for them (PgBouncer before 1.21)',
    'on',
  ),
  DATABASE_RLS: oneOf(
    ['on', 'off'],
    'off: statements run as the login itself, for databases where it may not create or take the roles taskward_user and taskward_service',
    'on',
  ),
  FRONTEND_URL: optional(
    'origins that browsers may call from, comma-separated; one * within a label: https://app-*-team.vercel.app',
  ),
  ALLOWED_ORIGINS: optional('used if FRONTEND_URL is not set'),
  RATE_LIMIT_MAX: Type.Integer({
    minimum: 1,
    default: 100,
    description: 'requests of one user in RATE_LIMIT_WINDOW',
  }),
  RATE_LIMIT_WINDOW: Type.Integer({ minimum: 1, maximum: 86_400, default: 60, description: 'seconds' }),
  AUTH_RATE_LIMIT_MAX: Type.Integer({
    minimum: 1,
    default: 20,
    description:
      'sign-ins, sign-ups and refreshes of one address in RATE_LIMIT_WINDOW, and as many refused tokens',
  }),
  REDIS_URL: optional('redis://… or rediss://…: shares the limits between instances'),
  TRUST_PROXY: optional(
    'addresses or networks of the proxies in front, comma-separated; their X-Forwarded-For is trusted',
  ),
  CLIENT_IP_HEADER: optional(
    "header in which the proxies of TRUST_PROXY send the client's address, instead of X-Forwarded-For: x-real-ip",
  ),
  HOST: optional('address to listen on; default: all, IPv6 and IPv4'),
  PORT: Type.Integer({ minimum: 0, maximum: 65535, default: 8000, description: 'port to listen on' }),
  LOG_LEVEL: oneOf(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    'least severe level that is logged',
    'info',
  ),
  METRICS_TOKEN: optional(
    'turns on GET /metrics, for Prometheus: the bearer token it takes, at least 16 characters',
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: optional(
    'address of an OpenTelemetry collector, http://HOST:4318: turns on traces; its other variables apply as well',
  ),
  DOCS: oneOf(['on', 'off'], 'off: no /docs and no /openapi.json', 'on'),
})
export type Env = Static<typeof Env>
