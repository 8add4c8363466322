import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type { SignIn, SignUp } from '../schemas/account.ts'
import type { Given, ScopedStatement, SharedScope } from './isolation/index.ts'
import type { Passwords } from './passwords.ts'
import { HttpProblem, inactiveUser, unauthorized } from './problem.ts'
import { invalidRefreshToken, type IssuedToken, type RefreshTokens } from './refresh-tokens.ts'
import { sharedStatement } from './tables.ts'

export interface Account {
  id: string
  email: string
  name: string
}

/** What a sign-in returns: the account, and the refresh token for its next access token. */
export interface Grant extends IssuedToken {
  account: Account
}

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

// An older version stored addresses as they were sent.
const NOT_COMPOSED = 'email is not normalized'
const countNotComposed = sharedStatement((db) =>
  db
    .selectFrom('accounts as a')
    .select(({ fn }) => {
      const isTaken = sql<boolean>`exists (select from accounts as b where b.email = normalize(a.email))`
      return [
        fn
          .countAll<number>()
          .filterWhere(({ not }) => not(isTaken))
          .as('alone'),
        fn.countAll<number>().filterWhere(isTaken).as('twice'),
      ]
    })
    .where(sql<boolean>`a.${sql.raw(NOT_COMPOSED)}`),
)

const invalidCredentials = () => unauthorized('invalid_credentials', 'Invalid email or password')
const emailTaken = () => new HttpProblem(400, 'email_taken', 'An account with this email exists already')

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i

const normalise = (email: string) => email.trim().toLowerCase().normalize() // a letter may be written in two ways

/** Which accounts nobody can sign in to, since normalise() finds others; one sentence each, with the SQL that repairs it. */
export async function remarksOnAccounts(scope: SharedScope): Promise<string[]> {
  const { alone, twice } = await scope.one(countNotComposed, {})
  const remarks: string[] = []
  const accounts = (count: number) => (count === 1 ? '1 account' : `${count} accounts`)
  if (alone > 0)
    remarks.push(
      `${accounts(alone)} cannot sign in: the e-mail address is not stored in Unicode's form C. The owner of the ` +
        `database can repair it with: update accounts as a set email = normalize(email) where ${NOT_COMPOSED} and not ` +
        'exists (select from accounts as b where b.email = normalize(a.email));',
    )
  if (twice > 0)
    remarks.push(
      `${accounts(twice)} cannot sign in: the e-mail address is not stored in Unicode's form C, and another account has ` +
        'it in that form. Look at both, and delete one or change its address: select id, email, created_at from ' +
        `accounts where normalize(email) in (select normalize(email) from accounts where ${NOT_COMPOSED});`,
    )
  return remarks
}

export interface AccountsOptions {
  scope: SharedScope
  passwords: Passwords
  refreshTokens: RefreshTokens
}

/** Local accounts, for deployments without Better Auth. */
export class Accounts {
  readonly #scope: SharedScope
  readonly #passwords: Passwords
  readonly #refreshTokens: RefreshTokens

  constructor({ scope, passwords, refreshTokens }: AccountsOptions) {
    this.#scope = scope
    this.#passwords = passwords
    this.#refreshTokens = refreshTokens
  }

  /** @throws HttpProblem 400 email_taken, 422 for a password that is too long or too common */
  async signUp({ email, password, name = email.replace(/@.*/, '') }: SignUp): Promise<Grant> {
    const hash = await this.#passwords.hash(password)
    const values = { id: randomUUID(), email: normalise(email), name, password: hash }
    return this.#grant(await this.#scope.one(create, values, emailTaken))
  }

  /** @throws HttpProblem 401 invalid_credentials, after the same time for an unknown account; 400 inactive_user */
  async signIn({ email, password }: SignIn): Promise<Grant> {
    const account = await this.#scope.first(findByEmail, { email: normalise(email) })
    if (!(await this.#passwords.matches(password, account?.password)) || !account) throw invalidCredentials()
    if (!account.active) throw inactiveUser()
    return this.#grant({ id: account.id, email: account.email, name: account.name })
  }

  /**
   * Exchanges a refresh token for the next one.
   * @throws HttpProblem 401 invalid_refresh_token, 400 inactive_user
   */
  async refresh(spent: string): Promise<Grant> {
    const { accountId, ...issued } = await this.#refreshTokens.rotate(spent)
    const account = await this.#scope.one(findById, { id: accountId }, invalidRefreshToken)
    if (!account.active) throw inactiveUser()
    const { id, email, name } = account
    return { account: { id, email, name }, ...issued }
  }

  /**
   * Revokes the refresh tokens of one sign-in. @param family the token's `sid`; one of another issuer revokes nothing
   */
  async signOut(accountId: string, family: unknown): Promise<void> {
    if (typeof family !== 'string' || !UUID.test(family)) return
    await this.#refreshTokens.revoke({ family, account_id: accountId })
  }

  /** The account of a user; undefined for a user of Better Auth. */
  async find(id: string): Promise<(Account & { created_at: string }) | undefined> {
    const account = await this.#scope.first(findById, { id })
    return account && { id, email: account.email, name: account.name, created_at: account.created_at }
  }

  /**
   * The statements that delete an account and its refresh tokens, for the transaction that deletes the user's rows;
   * none for a user of Better Auth.
   * @throws HttpProblem 401 invalid_credentials if the password is wrong
   */
  async removal(id: string, password = ''): Promise<ScopedStatement[]> {
    const account = await this.#scope.first(findById, { id })
    if (!account) return []
    if (!(await this.#passwords.matches(password, account.password))) throw invalidCredentials()
    return [this.#scope.bind(remove, { id })]
  }

  async #grant(account: Account): Promise<Grant> {
    return { account, ...(await this.#refreshTokens.issue(account.id)) }
  }
}
