import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import tap, { type Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import type { Database } from '../../src/database/index.ts'
import { createLogger } from '../../src/log.ts'
import { database } from './database.ts'

// No test is slow, but the machine may be.
tap.setTimeout(600_000)

export const SECRET = 'q4bT9vX2mK7wR1zN8cJ5hL3pF6sD0gYa'

export interface Identity {
  id: string
  email: string
  token: string
  /** Request headers with the token. */
  headers: { authorization: string }
}

/** Signs claims with HS256, as a Better Auth server with the same secret would; `exp` is in one hour. */
export function mint(claims: Record<string, unknown>, secret = SECRET): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  return new SignJWT({ iat: now, exp: now + 3600, ...claims })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .sign(new TextEncoder().encode(secret))
}

/** A user that no other test uses. */
export async function identity(id = `user-${randomUUID()}`): Promise<Identity> {
  const email = `${id}@example.com`
  const token = await mint({ sub: id, email })
  return { id, email, token, headers: { authorization: `Bearer ${token}` } }
}

export const environment = {
  NODE_ENV: 'test',
  BETTER_AUTH_SECRET: SECRET,
  FRONTEND_URL: 'https://app.example.com',
  LOG_LEVEL: 'info',
  BCRYPT_COST: '4',
  RATE_LIMIT_MAX: '1000000',
  AUTH_RATE_LIMIT_MAX: '1000000',
}

export interface BuildOptions {
  /** Changes to the test environment; undefined removes a variable. */
  env?: Record<string, string | undefined>
  /** Called with each line of the log. */
  onLog?: (line: string) => void
  /** Default: the database of this file; `null` for that of `env`. */
  database?: Database | null
  /** Adds routes of the test's own. */
  routes?: (app: App) => void
}

/** The whole app; closed when the test ends. */
export async function build(
  t: Test,
  { env, onLog = () => {}, database: db, routes }: BuildOptions = {},
): Promise<App> {
  const logger = createLogger({ write: onLog })
  const open = db === null ? undefined : (db ?? (await database()))
  const app = await buildApp({ env: { ...environment, ...env }, database: open, logger })
  t.teardown(() => app.close())
  routes?.(app)
  await app.ready()
  return app
}

export type App = Awaited<ReturnType<typeof buildApp>>
