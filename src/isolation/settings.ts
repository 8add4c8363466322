import { literal, quoteName } from './quote.ts'

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

/** What a transaction sets besides its owner. */
export interface SettingsValues {
  /** Unique to the batch. */
  nonce: string
  /** Milliseconds after which PostgreSQL cancels a statement, at least 1. */
  timeout: number
  /** Milliseconds for which a statement waits for a lock at most. Default: as long as the session does. */
  lockTimeout?: number
  /** Whether statements run under roles of their own. */
  rls: boolean
  /**
   * Whether to prove that each statement was in the same transaction as its settings. Not needed where a connection
   * leads to one PostgreSQL session, which answers in order.
   */
  seal: boolean
  /** Whether owned rows are on the workers of Citus. Needs an explicit transaction. Default false. */
  citus?: boolean
}

type Text = Pick<BoundStatement, 'name' | 'sql'>

const HAND_ON: BoundStatement = {
  name: 'settings_go_to_workers',
  sql: "select set_config('citus.propagate_set_commands', 'local', true)",
  parameters: [],
}

const variant = (rls: boolean, hasLock: boolean, seal: boolean): number =>
  (rls ? 4 : 0) + (hasLock ? 2 : 0) + (seal ? 1 : 0)

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
 * - `lock_timeout`, where a statement shall not wait for a lock for long
 * - the owner, in settings of our own; the time-out
 * - the nonce, which comes back as it went; if it is to be read again behind the statement, in a setting of our own
 * - the role, after the schema of the login has been found
 */
export class Settings {
  readonly #columns: readonly string[]
  /** The settings of the owner columns, as SQL names. */
  readonly #names: readonly string[]
  readonly #role: string
  /** By `variant()`. */
  readonly #set: readonly Text[]
  readonly #setBehindOwners: { rls: string; plain: string }
  readonly #read: { rls: string; plain: string }

  constructor({ prefix, columns, role }: SettingsOptions) {
    this.#columns = columns
    this.#names = columns.map((column) => `${quoteName(prefix)}.${quoteName(column)}`)
    this.#role = role
    const own = [...columns, 'nonce'].map((column) => settingOf(prefix, column))
    const path = "select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)"
    const current = (names: readonly string[]) =>
      names.map((name) => `current_setting('${name}', true)`).join(', ')
    const setBehindOwners = (names: readonly string[]) => {
      const others = names.slice(columns.length)
      const settings = others.map((name, i) => `set_config('${name}', $${i + 1}, true)`).join(', ')
      return `${path}, ${current(names.slice(0, columns.length))}, ${settings}`
    }
    const read = (names: readonly string[]) => `select ${current(names)}`
    const plain = [...own, 'statement_timeout']
    const set = (names: readonly string[], hasLock: boolean, seal: boolean) => {
      const settings = names.map((name, i) =>
        i === columns.length && !seal ? `$${i + 1}::text` : `set_config('${name}', $${i + 1}, true)`,
      )
      if (hasLock) settings.unshift(`set_config('lock_timeout', $${names.length + 1}, true)`)
      return [path, ...settings].join(', ')
    }
    const either = [false, true]
    this.#set = either.flatMap((rls) =>
      either.flatMap((hasLock) =>
        either.map((seal) => ({
          name: `settings${rls ? '_with_role' : ''}${hasLock ? '_and_lock' : ''}${seal ? '_to_seal' : ''}`,
          sql: set(rls ? [...plain, 'role'] : plain, hasLock, seal),
        })),
      ),
    )
    this.#setBehindOwners = { rls: setBehindOwners([...plain, 'role']), plain: setBehindOwners(plain) }
    this.#read = { rls: read([...plain, 'role']), plain: read(plain) }
  }

  /**
   * @param owner the values of the owner columns; none for statements that belong to nobody
   * @returns the statements that set them; the last reads them back
   */
  inFront(owner: readonly string[], values: SettingsValues): BoundStatement[] {
    const { nonce, timeout, lockTimeout, rls, seal, citus } = values
    const expected = this.#columns.map((_, i) => owner[i] ?? '')
    expected.push(nonce, shownTime(timeout))
    if (rls) expected.push(this.#role)
    if (citus && owner.length > 0) return this.#inFrontOfWorkers(expected, values)
    const hasLock = lockTimeout !== undefined
    const { name, sql } = this.#set[variant(rls, hasLock, seal)] as Text
    const parameters = hasLock ? [...expected, shownTime(lockTimeout)] : expected
    return [{ name, sql, parameters, expected }]
  }

  /**
   * Citus hands on to its workers what `set local` sets, and nothing else. The role needs no handing on: workers are
   * called as the role. Tables of nobody are on the coordinator alone.
   */
  #inFrontOfWorkers(expected: readonly string[], { lockTimeout, rls }: SettingsValues): BoundStatement[] {
    const set = (name: string, value: string): BoundStatement => ({
      name: '',
      sql: `set local ${name} = ${literal(value)}`,
      parameters: [],
    })
    const owners = this.#names.map((name, i) => set(name, expected[i] as string))
    const lock = lockTimeout === undefined ? [] : [set('lock_timeout', shownTime(lockTimeout))]
    const proof = {
      name: rls ? 'settings_with_role_for_workers' : 'settings_for_workers',
      sql: rls ? this.#setBehindOwners.rls : this.#setBehindOwners.plain,
      parameters: expected.slice(owners.length),
      expected,
    }
    return [HAND_ON, ...owners, ...lock, proof]
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
