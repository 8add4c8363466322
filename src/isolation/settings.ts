/** A statement with its parameters, as it goes over the wire. */
export interface BoundStatement {
  /** Name of the prepared statement; empty if it is not prepared. */
  readonly name: string
  readonly sql: string
  readonly parameters: readonly unknown[]
  /** PostgreSQL's object id of each parameter's type; 0, or none, lets the server infer it. */
  readonly types?: readonly number[]
  /** What the last columns of its one row must be. Any other answer belongs to somebody else. */
  readonly expected?: readonly string[]
}

/** The setting that holds the value of an owner column, and that policies compare it with. */
export const settingOf = (prefix: string, column: string): string => `${prefix}.${column}`

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
] as const

/** Milliseconds as PostgreSQL shows a setting: in the largest unit that needs no fraction. */
function shownTime(milliseconds: number): string {
  const [unit, size] = UNITS.find(([, size]) => milliseconds % size === 0) ?? ['ms', 1]
  return `${milliseconds / size}${unit}`
}

/** How the statements of one audience are run. */
export interface SettingsOptions {
  /** Prefix of the settings' names. */
  prefix: string
  /** The owner columns. */
  columns: readonly string[]
  /** The role that statements run under, unless row-level security is off. */
  role: string
}

/**
 * What a transaction sets before its statement, so that the policies apply to it; all of it ends with the transaction.
 * It is read back, because the protocol has no request ids: an answer is the asker's only if it names the owner and a
 * nonce that no other batch has.
 *
 * - `search_path` with `pg_temp` last, so that no temporary table shadows a real one
 * - the owner and the nonce, in settings of our own; the time-out
 * - the role, after the schema of the login has been found
 */
export class Settings {
  readonly #columns: readonly string[]
  readonly #role: string
  readonly #set: { rls: string; plain: string }
  readonly #read: { rls: string; plain: string }

  constructor({ prefix, columns, role }: SettingsOptions) {
    this.#columns = columns
    this.#role = role
    const own = [...columns, 'nonce'].map((column) => settingOf(prefix, column))
    const set = (names: readonly string[]) =>
      "select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true), " +
      names.map((name, i) => `set_config('${name}', $${i + 1}, true)`).join(', ')
    const read = (names: readonly string[]) =>
      `select ${names.map((name) => `current_setting('${name}', true)`).join(', ')}`
    const plain = [...own, 'statement_timeout']
    this.#set = { rls: set([...plain, 'role']), plain: set(plain) }
    this.#read = { rls: read([...plain, 'role']), plain: read(plain) }
  }

  /**
   * @param owner the values of the owner columns; none for statements that belong to nobody
   * @param nonce of the batch
   * @param timeout milliseconds after which PostgreSQL cancels the statement, at least 1
   * @param rls whether the statement runs under the role
   */
  inFront(owner: readonly string[], nonce: string, timeout: number, rls: boolean): BoundStatement {
    const values = this.#columns.map((_, i) => owner[i] ?? '')
    values.push(nonce, shownTime(timeout))
    if (rls) values.push(this.#role)
    return {
      name: rls ? 'settings_with_role' : 'settings',
      sql: rls ? this.#set.rls : this.#set.plain,
      parameters: values,
      expected: values,
    }
  }

  /** Reads the settings again after the statement: if they are the same, it ran in the same transaction. */
  behind(inFront: BoundStatement, rls: boolean): BoundStatement {
    return {
      name: rls ? 'settings_with_role_again' : 'settings_again',
      sql: rls ? this.#read.rls : this.#read.plain,
      parameters: [],
      expected: inFront.expected,
    }
  }
}
