import type { Accounts } from './accounts.ts'
import { OutcomeUnknownError, sqlStateOf } from './database/index.ts'
import type { DeletedPage, OwnedTable, UserScope } from './isolation/index.ts'
import { readPage } from './large-reads.ts'
import { databaseUnavailable } from './problem.ts'
import { isolation } from './tables.ts'
import type { User } from './tokens/index.ts'

const PAGE = 500
/** Rows of a table that are deleted at once. */
const BATCH = 2_000
// SQLSTATEs: a row that was added meanwhile refers to one of these; another erasure of the user was in the way.
const REFUSED = new Set(['23503', '40P01'])
/** How often in turn less than a batch may be deleted and rows be left, or a batch be refused. */
const TRIES = 10

export interface UserDataOptions {
  user: Pick<User, 'id' | 'email'>
  scope: UserScope
  /** Undefined if local accounts are off. */
  accounts: Accounts | undefined
}

/** Everything stored about a user: their account, and their rows in every declared owned table. */
export class UserData {
  readonly #user: UserDataOptions['user']
  readonly #scope: UserScope
  readonly #accounts: Accounts | undefined

  constructor({ user: { id, email }, scope, accounts }: UserDataOptions) {
    this.#user = { id, email }
    this.#scope = scope
    this.#accounts = accounts
  }

  /** As one JSON object, a page of rows at a time. */
  async *export(): AsyncGenerator<string> {
    const account = (await this.#accounts?.find(this.#user.id)) ?? null
    yield JSON.stringify({ user: this.#user, account }).slice(0, -1)
    for (const table of isolation.tables) {
      yield `,${JSON.stringify(table.name)}:[`
      let separator = ''
      for await (const page of this.#pages(table)) {
        yield separator + JSON.stringify(page).slice(1, -1)
        separator = ','
      }
      yield ']'
    }
    yield '}'
  }

  /**
   * Deletes all of it: in one transaction what is not more than a batch of each table, and the rest batch by batch.
   * The account goes first, so nobody signs in to a part of their rows. What fails can be repeated with the same token.
   * @param password of the local account, if the user has one
   * @throws HttpProblem 401 invalid_credentials if the password is wrong
   */
  async erase(password?: string): Promise<void> {
    let account = (await this.#accounts?.removal(this.#user.id, password)) ?? []
    // Tables may refer to those declared before them.
    const tables = isolation.tables.toReversed()
    const first = tables.map(({ deleteFirst }) => this.#scope.bind(deleteFirst, { limit: BATCH }))
    const left = tables.map(({ firstPage }) => this.#scope.bind(firstPage, { limit: 1 }))
    // Again and again, because other requests of the user may go on adding rows. Each statement sees what was committed
    // before it, so one row of a later table can keep a whole table from being deleted.
    for (let vain = 0; vain < TRIES; vain += 1) {
      try {
        const answers = await this.#scope.transaction([...account, ...first, ...left])
        const pages = answers.slice(account.length, -left.length)
        account = []
        const at = pages.findIndex(isFull)
        const table = tables[at]
        if (table) {
          vain = 0
          await this.#deleteAfter(table, pages[at] as DeletedPage[])
        } else if (answers.slice(-left.length).every(({ length }) => length === 0)) return
      } catch (error) {
        if (error instanceof OutcomeUnknownError) throw databaseUnavailable(error.cause) // it is safe to repeat
        if (!REFUSED.has(sqlStateOf(error) ?? '') || vain === TRIES - 1) throw error
      }
    }
    throw databaseUnavailable(new Error('there were rows again each time'))
  }

  /** Deletes all rows of a table that come after a page. */
  async #deleteAfter({ deleteNext }: OwnedTable, page: DeletedPage[]): Promise<void> {
    while (isFull(page)) page = await this.#scope.all(deleteNext, { limit: BATCH, after: page[0]?.last })
  }

  /**
   * The user's rows of one table, last key first: each page is read when it is asked for. It waits for its turn for as
   * long as it must, since half an export is none.
   */
  async *#pages({ firstPage, nextPage, key }: OwnedTable): AsyncGenerator<Record<string, unknown>[]> {
    let page = await readPage(this.#scope, PAGE, firstPage, { limit: PAGE }, Infinity)
    while (page.length > 0) {
      yield page
      if (page.length < PAGE) return
      const after = page.at(-1)?.[key]
      page = await readPage(this.#scope, PAGE, nextPage, { limit: PAGE, after }, Infinity)
    }
  }
}

const isFull = (page: unknown[]): boolean => (page as DeletedPage[])[0]?.count === BATCH
