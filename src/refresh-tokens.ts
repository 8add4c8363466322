import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type { Given, SharedScope } from './isolation/index.ts'
import { unauthorized } from './problem.ts'
import { sharedStatement } from './tables.ts'

/** Expired tokens that are removed at once. */
const BATCH = 10_000

/** A new refresh token. It is shown only once. */
export interface IssuedToken {
  refreshToken: string
  /** Shared by all refresh tokens that come from one sign-in. */
  family: string
}

type Token = { hash: string; family: string; account_id: string; expires_at: Date }
type Family = { family: string; account_id: string }

const keepToken = sharedStatement((db, { hash, family, account_id, expires_at }: Given<Token>) =>
  db.insertInto('refresh_tokens').values({ hash, family, account_id, expires_at }).returning('family'),
)

// One statement, so that of two requests with the same token at most one gets the next.
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

const revokeFamily = sharedStatement((db, given: Given<Family>) =>
  db
    .deleteFrom('refresh_tokens')
    .where('family', '=', given.family)
    .where('account_id', '=', given.account_id)
    .returning('account_id'),
)

// Up to the time at which the last of a batch expired: those that expired together lie together.
const sweepExpired = sharedStatement<{ count: number }, { limit: number }>(
  (_db, { limit }) => sql`
    with last as (
      select expires_at from refresh_tokens where expires_at < now() order by expires_at offset ${limit} limit 1
    ), gone as (
      delete from refresh_tokens
      where expires_at < now() and expires_at <= coalesce((select expires_at from last), now()) returning 1
    )
    select count(*) as count from gone`,
)

export const invalidRefreshToken = () => unauthorized('invalid_refresh_token', 'Invalid refresh token')

const hashOf = (token: string) => createHash('sha256').update(token).digest('hex')

/** The refresh tokens of local accounts: each is exchanged once, for the next. */
export class RefreshTokens {
  readonly #scope: SharedScope
  readonly #seconds: number

  /** @param seconds how long a refresh token is valid */
  constructor(scope: SharedScope, seconds: number) {
    this.#scope = scope
    this.#seconds = seconds
  }

  /** The first refresh token of a sign-in. */
  async issue(accountId: string): Promise<IssuedToken> {
    const { refreshToken, ...token } = this.#next()
    const family = randomUUID()
    await this.#scope.one(keepToken, { ...token, family, account_id: accountId })
    return { refreshToken, family }
  }

  /**
   * Exchanges a token for the next. If it was spent before, it or its successor was stolen: all tokens from that
   * sign-in are revoked (RFC 9700, 4.14).
   * @throws HttpProblem 401 invalid_refresh_token
   */
  async rotate(spent: string): Promise<IssuedToken & { accountId: string }> {
    const { refreshToken, ...token } = this.#next()
    const hash = hashOf(spent)
    const rotated = await this.#scope.first(rotate, { ...token, spent: hash })
    if (!rotated) {
      const stolen = await this.#scope.first(findFamily, { hash })
      if (stolen) await this.revoke(stolen)
      throw invalidRefreshToken()
    }
    return { refreshToken, family: rotated.family, accountId: rotated.account_id }
  }

  /** Revokes all tokens that came from one sign-in. */
  async revoke(family: Family): Promise<void> {
    let ended: unknown[]
    // A concurrent refresh may insert its token after our delete took its snapshot: repeat until a delete finds none.
    do ended = await this.#scope.all(revokeFamily, family)
    while (ended.length > 0)
  }

  /** Removes expired tokens, a batch at a time; returns how many. */
  async sweep(): Promise<number> {
    let removed = 0
    let batch: number
    do {
      batch = (await this.#scope.one(sweepExpired, { limit: BATCH })).count
      removed += batch
    } while (batch > BATCH)
    return removed
  }

  #next(): { refreshToken: string; hash: string; expires_at: Date } {
    const refreshToken = randomBytes(32).toString('base64url')
    return {
      refreshToken,
      hash: hashOf(refreshToken),
      expires_at: new Date(Date.now() + this.#seconds * 1000),
    }
  }
}
