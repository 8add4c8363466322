import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type { SignIn, SignUp } from '../schemas/account.ts'
import type { Step } from './database.ts'
import { type Given, sharedStatement, type SharedScope } from './isolation.ts'
import type { Passwords } from './passwords.ts'
import { Problem } from './problem.ts'
import { challenge } from './verifier.ts'

export interface Account {
  id: string
  email: string
  name: string
}

/** What a sign-in gives: who it is, and the secret for the next token. */
export interface Grant {
  account: Account
  refreshToken: string
  /** All refresh tokens that come from one sign-in. */
  family: string
}

type Token = { hash: string; family: string; account_id: string; expires_at: Date }

const create = sharedStatement((db, { id, email, name, password }: Given<Account & { password: string }>) =>
  db
    .insertInto('accounts')
    .values({ id, email, name, password })
    .onConflict((conflict) => conflict.column('email').doNothing())
    .returning(['id', 'email', 'name']),
)

const findByEmail = sharedStatement((db, given: Given<{ email: string }>) =>
  db
    .selectFrom('accounts')
    .select(['id', 'email', 'name', 'password', 'active'])
    .where('email', '=', given.email),
)

const findById = sharedStatement((db, given: Given<{ id: string }>) =>
  db
    .selectFrom('accounts')
    .select(['id', 'email', 'name', 'password', 'active', 'created_at'])
    .where('id', '=', given.id),
)

const remove = sharedStatement((db, given: Given<{ id: string }>) =>
  db.deleteFrom('accounts').where('id', '=', given.id).returning('id'),
)

const keepToken = sharedStatement((db, { hash, family, account_id, expires_at }: Given<Token>) =>
  db.insertInto('refresh_tokens').values({ hash, family, account_id, expires_at }).returning('family'),
)

// One statement, so that of two requests with the same token one at most gets the next.
const rotate = sharedStatement((db, given: Given<{ spent: string; hash: string; expires_at: Date }>) =>
  db
    .with('spent', (cte) =>
      cte
        .updateTable('refresh_tokens')
        .set({ spent_at: sql<Date>`now()` })
        .where('hash', '=', given.spent)
        .where('spent_at', 'is', null)
        .where('expires_at', '>', sql<Date>`now()`)
        .returning(['family', 'account_id']),
    )
    .insertInto('refresh_tokens')
    .columns(['hash', 'family', 'account_id', 'expires_at'])
    .expression((eb) =>
      eb
        .selectFrom('spent')
        .select([
          eb.cast<string>(given.hash, 'text').as('hash'),
          'family',
          'account_id',
          eb.cast<Date>(given.expires_at, 'timestamptz').as('expires_at'),
        ]),
    )
    .returning(['family', 'account_id']),
)

const findFamily = sharedStatement((db, given: Given<{ hash: string }>) =>
  db.selectFrom('refresh_tokens').select(['family', 'account_id']).where('hash', '=', given.hash),
)

const revokeFamily = sharedStatement((db, given: Given<{ family: string; account_id: string }>) =>
  db
    .deleteFrom('refresh_tokens')
    .where('family', '=', given.family)
    .where('account_id', '=', given.account_id)
    .returning('account_id'),
)

const sweep = sharedStatement((db) =>
  db
    .deleteFrom('refresh_tokens')
    .where('expires_at', '<', sql<Date>`now()`)
    .returning('family'),
)

const invalidCredentials = () =>
  new Problem(401, 'invalid_credentials', 'Invalid email or password', { headers: challenge() })
const invalidRefreshToken = () =>
  new Problem(401, 'invalid_refresh_token', 'Invalid refresh token', { headers: challenge() })
/** Also the answer to a token that says `disabled: true`. */
export const inactiveUser = () => new Problem(400, 'inactive_user', 'Inactive user')

const normalise = (email: string) => email.trim().toLowerCase()
const hashOf = (token: string) => createHash('sha256').update(token).digest('hex')

export interface AccountsOptions {
  scope: SharedScope
  passwords: Passwords
  /** How long a refresh token is valid, in seconds. */
  refreshSeconds: number
}

/** Local accounts, for those without Better Auth. */
export function createAccounts({ scope, passwords, refreshSeconds }: AccountsOptions) {
  const newToken = () => {
    const refreshToken = randomBytes(32).toString('base64url')
    return {
      refreshToken,
      hash: hashOf(refreshToken),
      expires_at: new Date(Date.now() + refreshSeconds * 1000),
    }
  }

  async function grant(account: Account): Promise<Grant> {
    const { refreshToken, ...token } = newToken()
    const family = randomUUID()
    await scope.one(keepToken, { ...token, family, account_id: account.id })
    return { account, refreshToken, family }
  }

  // A refresh under way writes its token after a delete has looked: only when one finds nothing is there nothing.
  async function revoke(family: { family: string; account_id: string }): Promise<void> {
    while ((await scope.all(revokeFamily, family)).length > 0);
  }

  return {
    /** @throws Problem 400 email_taken, 422 for a password that is too long or too common */
    async signUp({ email, password, name }: SignUp): Promise<Grant> {
      const hash = await passwords.hash(password)
      const values = { id: randomUUID(), email: normalise(email), name, password: hash }
      const taken = () => new Problem(400, 'email_taken', 'An account with this email exists already')
      return grant(await scope.one(create, values, taken))
    },

    /** @throws Problem 401 invalid_credentials, in the same time for an unknown account; 400 inactive_user */
    async signIn({ email, password }: SignIn): Promise<Grant> {
      const account = await scope.first(findByEmail, { email: normalise(email) })
      if (!(await passwords.matches(password, account?.password)) || !account) throw invalidCredentials()
      if (!account.active) throw inactiveUser()
      return grant({ id: account.id, email: account.email, name: account.name })
    },

    /**
     * Spends a refresh token for the next. One that was spent before has been stolen, or its successor has: all
     * that came from that sign-in end (RFC 9700, 4.14).
     * @throws Problem 401 invalid_refresh_token, 400 inactive_user
     */
    async refresh(spent: string): Promise<Grant> {
      const { refreshToken, ...token } = newToken()
      const rotated = await scope.first(rotate, { ...token, spent: hashOf(spent) })
      if (!rotated) {
        const stolen = await scope.first(findFamily, { hash: hashOf(spent) })
        if (stolen) await revoke(stolen)
        throw invalidRefreshToken()
      }
      const account = await scope.one(findById, { id: rotated.account_id }, invalidRefreshToken)
      if (!account.active) throw inactiveUser()
      const { id, email, name } = account
      return { account: { id, email, name }, refreshToken, family: rotated.family }
    },

    /** Ends the refresh tokens of one sign-in. */
    async signOut(accountId: string, family: string): Promise<void> {
      await revoke({ family, account_id: accountId })
    },

    /** The account of a user; undefined for a user of Better Auth. */
    async find(id: string): Promise<(Account & { created_at: string }) | undefined> {
      const account = await scope.first(findById, { id })
      return account && { id, email: account.email, name: account.name, created_at: account.created_at }
    },

    /**
     * The step that removes an account with its refresh tokens, to be run with those that remove what the user owns;
     * none for a user of Better Auth.
     * @throws Problem 401 invalid_credentials if it is not the account's password
     */
    async erasure(id: string, password = ''): Promise<Step[]> {
      const account = await scope.first(findById, { id })
      if (!account) return []
      if (!(await passwords.matches(password, account.password))) throw invalidCredentials()
      return [scope.step(remove, { id })]
    },

    /** Removes expired refresh tokens; returns how many. */
    async sweep(): Promise<number> {
      return (await scope.all(sweep, {})).length
    },
  }
}

export type Accounts = ReturnType<typeof createAccounts>
