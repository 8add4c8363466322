import Fastify from 'fastify'
import env from '../plugins/env.ts'
import jwt from '../plugins/jwt.ts'
import rateLimit from '../plugins/rate-limit.ts'

export interface TokenOptions {
  /** 1–255 visible characters. */
  sub: string
  email?: string
  /** How long it is valid, in days. */
  days?: number
}

/**
 * Signs a token as a Better Auth server that shares the secret would, for trying things out.
 * @returns undefined where there is no secret to sign with
 * @throws ConfigError if the environment cannot be used
 */
export async function mintToken(
  variables: Record<string, string | undefined>,
  { sub, email, days = 7 }: TokenOptions,
): Promise<string | undefined> {
  const app = Fastify()
  try {
    await app.register(env, { env: variables })
    await app.register(rateLimit)
    await app.register(jwt)
    if (!app.config.signingSecret) return undefined
    return app.jwt.sign({ sub, user_id: sub, email }, { expiresIn: days * 24 * 3600 })
  } finally {
    await app.close()
  }
}
