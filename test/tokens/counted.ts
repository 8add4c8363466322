import type { Test } from 'tap'
import type { Database } from '../../src/database/index.ts'
import { type App, build, type BuildOptions } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { bearer } from '../helper/http.ts'
import { issuer } from './signing.ts'

export const secretOnly = {}
export const keySetOnly = { BETTER_AUTH_SECRET: undefined, BETTER_AUTH_URL: issuer.origin }
export const both = { BETTER_AUTH_URL: issuer.origin }

/**
 * The app, and how often it has used the database; but for asLogin(), which no request uses, but the check at start, and
 * for isOverloaded(), which asks nothing of it.
 */
export async function buildCounted(t: Test, options: BuildOptions) {
  const db = await database()
  let statements = 0
  const counting = new Proxy(db, {
    get(target, name) {
      const value = target[name as keyof Database]
      if (typeof value === 'function' && !['asLogin', 'isOverloaded'].includes(String(name))) statements++
      return value
    },
  })
  const app = await build(t, { ...options, database: counting })
  statements = 0
  return { app, statements: () => statements }
}

/** The answer of /me to this token, or the code of the refusal. */
export async function me(app: App, token: string) {
  const response = await app.inject({ url: '/me', headers: bearer(token) })
  return response.statusCode === 200 ? response.json() : response.json().code
}
