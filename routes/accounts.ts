import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Refresh, Session, SignIn, SignUp, Success } from '../schemas/account.ts'
import { ref, response } from '../schemas/responses.ts'
import type { Accounts, Grant } from '../src/accounts.ts'

// The paths of each, with their operationIds; all but the first are aliases.
const SIGN_UP = { signup: 'signUp', 'sign-up': 'signUpAlias', register: 'register' }
const SIGN_IN = { signin: 'signIn', 'sign-in': 'signInAlias', login: 'login' }
const SIGN_OUT = { signout: 'signOut', 'sign-out': 'signOutAlias', logout: 'logout' }

/** Sign-up, sign-in, refresh and sign-out, for deployments without Better Auth. */
const auth: FastifyPluginAsyncTypebox = async (app) => {
  if (!app.accounts) return
  const accounts: Accounts = app.accounts
  const { ACCESS_TOKEN_EXPIRE_MINUTES, JWT_EXPIRATION_DAYS } = app.config
  const expires_in = Math.round(
    ACCESS_TOKEN_EXPIRE_MINUTES === undefined
      ? JWT_EXPIRATION_DAYS * 86_400
      : ACCESS_TOKEN_EXPIRE_MINUTES * 60,
  )

  function sessionOf({ account, refreshToken, family }: Grant): Session {
    const { id, email, name } = account
    const token = app.jwt.sign({ sub: id, user_id: id, email, name, sid: family }, { expiresIn: expires_in })
    return { success: true, data: { token, expires_in, refresh_token: refreshToken, user: account } }
  }

  const describe = (operationId: string, summary: string, isAlias = false) => ({
    operationId,
    summary,
    tags: isAlias ? ['aliases'] : ['accounts'],
  })
  const problems = [429, 503]

  for (const [action, operationId] of Object.entries(SIGN_UP)) {
    app.post(
      `/api/auth/${action}`,
      {
        onRequest: app.limitAddress,
        schema: {
          ...describe(operationId, 'Create an account', action !== 'signup'),
          body: ref(SignUp),
          response: { 201: response(ref(Session), 'Signed in') },
          problems,
        },
      },
      async ({ body }, reply) => {
        reply.code(201).header('cache-control', 'no-store')
        return sessionOf(await accounts.signUp(body))
      },
    )
  }

  for (const [action, operationId] of Object.entries(SIGN_IN)) {
    app.post(
      `/api/auth/${action}`,
      {
        onRequest: app.limitAddress,
        schema: {
          ...describe(operationId, 'Sign in', action !== 'signin'),
          body: ref(SignIn),
          response: { 200: response(ref(Session), 'Signed in') },
          problems: [...problems, 401],
        },
      },
      async ({ body }, reply) => {
        reply.header('cache-control', 'no-store')
        return sessionOf(await accounts.signIn(body))
      },
    )
  }

  app.post(
    '/api/auth/refresh',
    {
      onRequest: app.limitAddress,
      schema: {
        ...describe('refreshSession', 'Exchange a refresh token for a new token and the next refresh token'),
        body: ref(Refresh),
        response: { 200: response(ref(Session), 'Signed in, with new tokens') },
        problems: [...problems, 401],
      },
    },
    async ({ body }, reply) => {
      reply.header('cache-control', 'no-store')
      return sessionOf(await accounts.refresh(body.refresh_token))
    },
  )

  for (const [action, operationId] of Object.entries(SIGN_OUT)) {
    app.post(
      `/api/auth/${action}`,
      {
        onRequest: app.authenticate,
        schema: {
          ...describe(operationId, 'Revoke the refresh tokens of this sign-in', action !== 'signout'),
          description: 'The bearer token itself stays valid until it expires.',
          security: [{ bearer: [] }],
          response: { 200: response(ref(Success), 'Signed out') },
        },
      },
      async ({ user }) => {
        await accounts.signOut(user.id, user.claims.sid)
        return { success: true as const }
      },
    )
  }
}

export default auth
