import type { Accounts } from './accounts.ts'
import type { OwnedTable, UserScope } from './isolation/index.ts'
import { readPage } from './large-reads.ts'
import { isolation } from './tables.ts'
import type { User } from './tokens/index.ts'

const PAGE = 500

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
   * Deletes all of it, in one transaction.
   * @param password of the local account, if the user has one
   * @throws HttpProblem 401 invalid_credentials if the password is wrong
   */
  async erase(password?: string): Promise<void> {
    const account = (await this.#accounts?.removal(this.#user.id, password)) ?? []
    // Tables may reference those declared before them.
    const rows = isolation.tables.toReversed().map(({ deleteAll }) => this.#scope.bind(deleteAll, {}))
    await this.#scope.transaction([...account, ...rows])
  }

  /** The user's rows of one table, last key first: each page is read when it is asked for. */
  async *#pages({ firstPage, nextPage, key }: OwnedTable): AsyncGenerator<Record<string, unknown>[]> {
    let page = await readPage(this.#scope, PAGE, firstPage, { limit: PAGE })
    while (page.length > 0) {
      yield page
      if (page.length < PAGE) return
      const after = page.at(-1)?.[key]
      page = await readPage(this.#scope, PAGE, nextPage, { limit: PAGE, after })
    }
  }
}
