import { presentVariables, type Variables } from './config.ts'

// What back ends of this family in other languages and platforms set, and what says the same here.
const INSTEAD: Record<string, string> = {
  ALGORITHM: 'BETTER_AUTH_SECRET accepts HS256, BETTER_AUTH_URL the algorithms of the jwt plugin',
  JWT_ALGORITHM: 'BETTER_AUTH_SECRET accepts HS256, BETTER_AUTH_URL the algorithms of the jwt plugin',
  SECRET_KEY: 'set BETTER_AUTH_SECRET',
  JWT_SECRET: 'set BETTER_AUTH_SECRET',
  JWT_SECRET_KEY: 'set BETTER_AUTH_SECRET',
  BETTER_AUTH_JWKS_URL: 'set JWKS_URL',
  ACCESS_TOKEN_EXPIRE_HOURS: 'set ACCESS_TOKEN_EXPIRE_MINUTES',
  ACCESS_TOKEN_EXPIRE_DAYS: 'set JWT_EXPIRATION_DAYS',
  JWT_EXPIRATION_HOURS: 'set ACCESS_TOKEN_EXPIRE_MINUTES',
  REFRESH_TOKEN_EXPIRE_DAYS: 'set REFRESH_TOKEN_EXPIRATION_DAYS',
  CORS_ORIGIN: 'set FRONTEND_URL',
  CORS_ORIGINS: 'set FRONTEND_URL',
  BACKEND_CORS_ORIGINS: 'set FRONTEND_URL',
  ENVIRONMENT: 'set NODE_ENV',
  WEB_CONCURRENCY: 'one process serves: run several instances, see docs/scaling.md',
}
/** Values that ask for what is done anyway. */
const SAME: Record<string, string> = { WEB_CONCURRENCY: '1' }

/** One sentence that names the variables of an older back end that are set and mean nothing here, never their values. */
export function olderVariables(variables: Variables): string | undefined {
  const present = presentVariables(variables)
  const found = Object.entries(INSTEAD).filter(
    ([name]) => Object.hasOwn(present, name) && present[name]?.trim() !== SAME[name],
  )
  if (found.length === 0) return undefined
  return `Set but not read here: ${found.map(([name, instead]) => `${name} (${instead})`).join(', ')}`
}
