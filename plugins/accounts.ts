import fp from 'fastify-plugin'
import { Accounts } from '../src/accounts.ts'
import { Passwords } from '../src/passwords.ts'
import { RefreshTokens } from '../src/refresh-tokens.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined if local accounts are off. */
    accounts: Accounts | undefined
  }
}

const DAY_SECONDS = 86_400
const SWEEP_EVERY_MS = 3_600_000

/** Local accounts, unless LOCAL_AUTH is off or there is no secret to sign with. */
export default fp(
  async (app) => {
    const { localAuth, LOCAL_AUTH, BCRYPT_COST, REFRESH_TOKEN_EXPIRATION_DAYS } = app.config
    app.decorate('accounts', undefined)
    if (!localAuth) {
      const why =
        LOCAL_AUTH === 'off'
          ? 'LOCAL_AUTH=off'
          : 'no BETTER_AUTH_SECRET and no LOCAL_AUTH_SECRET to sign with'
      app.log.info(`local accounts are off: ${why}`)
      return
    }

    const scope = app.sharedScope
    const refreshTokens = new RefreshTokens(scope, REFRESH_TOKEN_EXPIRATION_DAYS * DAY_SECONDS)
    app.accounts = new Accounts({ scope, passwords: new Passwords(BCRYPT_COST), refreshTokens })

    const sweep = () =>
      refreshTokens.sweep().catch((err) => app.log.warn({ err }, 'expired refresh tokens were not removed'))
    const timer = setInterval(sweep, SWEEP_EVERY_MS).unref()
    app.addHook('onClose', async () => clearInterval(timer))
  },
  { name: 'accounts', dependencies: ['env', 'database'] },
)
