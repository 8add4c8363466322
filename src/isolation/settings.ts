import { literal, quoteName } from './quote.ts'

/** A statement with its parameters, as it goes over the wire. */
export interface BoundStatement {
  /** Name of the prepared statement; empty if it is not prepared. */
  readonly name: string
  readonly sql: string
  readonly parameters: readonly unknown[]
  /** PostgreSQL's object id of each parameter's type; 0, or none, lets the server infer it. */
  readonly types?: readonly number[]
  /** What the one column of its one row must be. Any other answer belongs to somebody else. */
  readonly expected?: string
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

// All that is called has its schema in front: where more than one function fits, one in the schema of the login could
// otherwise stand in for PostgreSQL's. With no schema to use, the path stays that of the session.
const SET_PATH = `pg_catalog.set_config('search_path', pg_catalog.textcat(pg_catalog.quote_ident(pg_catalog.current_schema()), ', pg_temp'), true) is not null`

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
 * nonce that no other batch has. It comes back as one text, because each column costs more than to join them. No other
 * batch makes the same one: a nonce has no blank.
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
  readonly #setBehindOwners: { rls: Text; plain: Text }
  readonly #read: { rls: Text; plain: Text }

  constructor({ prefix, columns, role }: SettingsOptions) {
    this.#columns = columns
    this.#names = columns.map((column) => `${quoteName(prefix)}.${quoteName(column)}`)
    this.#role = role
    const plain = [...columns, 'nonce'].map((column) => settingOf(prefix, column))
    plain.push('statement_timeout')
    const rls = [...plain, 'role']
    const current = (name: string) => `pg_catalog.current_setting('${name}', true)`
    const set = (name: string, place: number) => `pg_catalog.set_config('${name}', $${place}, true)`
    const joined = (values: readonly string[]) => `select pg_catalog.concat_ws(' ', ${values.join(', ')})`
    const setAll = (names: readonly string[], hasLock: boolean, seal: boolean) => {
      const values = names.map((name, i) =>
        i === columns.length && !seal ? `$${i + 1}::text` : set(name, i + 1),
      )
      const setLock = hasLock ? ` and ${set('lock_timeout', names.length + 1)} is not null` : ''
      return `${joined(values)} where ${SET_PATH}${setLock}`
    }
    const setOthers = (names: readonly string[]) => {
      const owners = names.slice(0, columns.length).map(current)
      const others = names.slice(columns.length).map((name, i) => set(name, i + 1))
      return `${joined([...owners, ...others])} where ${SET_PATH}`
    }
    const read = (names: readonly string[]) => joined(names.map(current))
    const either = [false, true]
    this.#set = either.flatMap((hasRole) =>
      either.flatMap((hasLock) =>
        either.map((seal) => ({
          name: `settings${hasRole ? '_with_role' : ''}${hasLock ? '_and_lock' : ''}${seal ? '_to_seal' : ''}`,
          sql: setAll(hasRole ? rls : plain, hasLock, seal),
        })),
      ),
    )
    this.#setBehindOwners = {
      rls: { name: 'settings_with_role_for_workers', sql: setOthers(rls) },
      plain: { name: 'settings_for_workers', sql: setOthers(plain) },
    }
    this.#read = {
      rls: { name: 'settings_with_role_again', sql: read(rls) },
      plain: { name: 'settings_again', sql: read(plain) },
    }
  }

  /**
   * @param owner the values of the owner columns; none for statements that belong to nobody
   * @returns the statements that set them; the last reads them back
   */
  inFront(owner: readonly string[], values: SettingsValues): BoundStatement[] {
    const { nonce, timeout, lockTimeout, rls, seal, citus } = values
    const parameters = this.#columns.map((_, i) => owner[i] ?? '')
    parameters.push(nonce, shownTime(timeout))
    if (rls) parameters.push(this.#role)
    const expected = parameters.join(' ')
    if (citus && owner.length > 0) {
      const owners = parameters.splice(0, owner.length)
      const proof = { ...this.#setBehindOwners[rls ? 'rls' : 'plain'], parameters, expected }
      return [HAND_ON, ...this.#onWorkers(owners, lockTimeout), proof]
    }
    const hasLock = lockTimeout !== undefined
    if (hasLock) parameters.push(shownTime(lockTimeout))
    const { name, sql } = this.#set[variant(rls, hasLock, seal)] as Text
    return [{ name, sql, parameters, expected }]
  }

  /**
   * Citus hands on to its workers what `set local` sets, and nothing else. The role needs no handing on: workers are
   * called as the role. Tables of nobody are on the coordinator alone.
   */
  #onWorkers(owner: readonly string[], lockTimeout: number | undefined): BoundStatement[] {
    const set = (name: string | undefined, value: string): BoundStatement => ({
      name: '',
      sql: `set local ${name} = ${literal(value)}`,
      parameters: [],
    })
    const owners = owner.map((value, i) => set(this.#names[i], value))
    return lockTimeout === undefined ? owners : [...owners, set('lock_timeout', shownTime(lockTimeout))]
  }

  /** Reads the settings again after the statement: if they are the same, it ran in the same transaction. */
  behind({ expected }: BoundStatement, rls: boolean): BoundStatement {
    return { ...this.#read[rls ? 'rls' : 'plain'], parameters: [], expected }
  }
}
