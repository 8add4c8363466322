import fastifyEnv from '@fastify/env'
import fp from 'fastify-plugin'
import { Env } from '../schemas/env.ts'
import { type Config, interpretEnv, presentVariables, refuseEnv, type Variables } from '../src/config.ts'

declare module 'fastify' {
  interface FastifyInstance {
    config: Config
  }
}

export interface EnvOptions {
  env: Variables
}

/** Validates the environment: the secrets, FRONTEND_URL and everything else that schemas/env lists. */
export default fp<EnvOptions>(
  async (app, { env }) => {
    const data = presentVariables(env)
    try {
      await app.register(fastifyEnv, { confKey: 'env', schema: Env, data, env: false })
    } catch (error) {
      refuseEnv(error, data)
    }
    const config = interpretEnv(app.getEnvs<Env>())
    app.log.level = config.LOG_LEVEL
    app.decorate('config', config)
  },
  { name: 'env' },
)
