import { createHash } from 'node:crypto'
import {
  type Compilable,
  type CompiledQuery,
  type DeleteQueryBuilder,
  type DeleteResult,
  DummyDriver,
  type Expression,
  expressionBuilder,
  type InsertObject,
  type InsertQueryBuilder,
  type InsertResult,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type RawBuilder,
  type SelectQueryBuilder,
  type UpdateQueryBuilder,
  type UpdateResult,
} from 'kysely'
import { type Declaration, prove, UnscopedStatementError } from './guard/index.ts'
import { Owner, type OwnerColumns } from './owner.ts'
import type { BoundStatement, Settings, SettingsValues } from './settings.ts'

type TableOf<Owned> = keyof Owned & string
type View<Owned, T extends TableOf<Owned>> = Pick<Owned, T>

/** A value that is given when the statement runs, not when it is compiled. */
class Placeholder {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

/** The owner's value for one column. */
class OwnerPlaceholder extends Placeholder {}

/**
 * The first wall: the way to build a statement on owned tables. Each builder is already bound to the owner, and offers
 * no other owned table to join: join `rows(…)` instead, which is bound as well.
 */
export interface Mine<Owned> {
  /** The values of the owner columns, by column, for raw SQL: `where owner_id = ${mine.owner.owner_id}`. */
  readonly owner: Readonly<Record<string, Expression<string>>>
  selectFrom<T extends TableOf<Owned>>(table: T): SelectQueryBuilder<View<Owned, T>, T, object>
  /** `row` has no owner columns: they are added. */
  insertInto<T extends TableOf<Owned>>(
    table: T,
    row: InsertObject<Owned, T>,
  ): InsertQueryBuilder<View<Owned, T>, T, InsertResult>
  updateTable<T extends TableOf<Owned>>(table: T): UpdateQueryBuilder<View<Owned, T>, T, T, UpdateResult>
  deleteFrom<T extends TableOf<Owned>>(table: T): DeleteQueryBuilder<View<Owned, T>, T, DeleteResult>
  /** The owner's rows as a sub-query: `.innerJoin(mine.rows('notes').as('notes'), …)`. */
  rows<T extends TableOf<Owned>>(table: T): SelectQueryBuilder<View<Owned, T>, T, Record<never, never>>
}

/** Placeholders for the values of a statement, by name and with their types. */
export type Given<Values> = { readonly [K in keyof Values]-?: Expression<Values[K]> }

// Known only to this file, so that everything that runs was made here.
const KEY = Symbol('statement')

// Object ids of pg_type.
const INFERRED = 0
const TEXT = 25

/** Whom a statement serves: one owner, or nobody in particular. */
export type Audience = 'owner' | 'nobody'

/** What a statement is built from: a Kysely query, or raw SQL. */
export type Buildable<Row> = Compilable<Row> | RawBuilder<Row>

/** A statement that is compiled and proved once, and run with new values each time. */
export class Statement<Values, Row, Of extends Audience> {
  /**
   * Names the prepared statement: derived from the SQL, so that equal SQL shares one. Empty where the columns follow
   * the table's (`select *`): such a statement is not prepared, so that each answer is described.
   */
  readonly name: string
  /** What the guard has proved, and what is sent. */
  readonly sql: string
  readonly writes: boolean
  /** Of the parameters: an owner is text. Where the server inferred it, its first use could make it another type. */
  readonly types: readonly number[]
  /** Each parameter, read from the owner's values and the given ones. */
  readonly #parameters: readonly ((owned: readonly string[], values: Values) => unknown)[]
  readonly #owner: OwnerColumns<never>
  readonly #settings: Settings
  readonly #declaration: Declaration
  // Type-level only, never set.
  declare readonly of: Of
  declare readonly row: Row

  /** @throws UnscopedStatementError if the guard cannot prove it */
  constructor(
    key: typeof KEY,
    { sql, parameters }: Pick<CompiledQuery, 'sql' | 'parameters'>,
    { declaration, owner, settings, audience }: MakerOptions<Of>,
  ) {
    if (key !== KEY) throw new TypeError('statements are made by statement() and sharedStatement()')
    const owners = parameters.map((value) => (value instanceof OwnerPlaceholder ? value.name : undefined))
    const { writes, star } = prove(sql, declaration, owners, audience)
    this.name = star ? '' : createHash('sha256').update(sql).digest('base64url').slice(0, 16)
    this.sql = sql
    this.writes = writes
    this.types = Object.freeze(owners.map((owner) => (owner === undefined ? INFERRED : TEXT)))
    this.#parameters = parameters.map((parameter) => {
      if (!(parameter instanceof Placeholder)) return () => parameter
      const { name } = parameter
      if (!(parameter instanceof OwnerPlaceholder)) return (_owned, values) => values[name as keyof Values]
      const column = declaration.owner.indexOf(name)
      return (owned) => owned[column]
    })
    this.#owner = owner
    this.#settings = settings
    this.#declaration = declaration
    Object.freeze(this) // what was proved is what is sent
  }

  /** The statement for one owner, with the values by name as its parameters $1, $2, … */
  static bind<Values, Of extends Audience>(
    statement: Statement<Values, unknown, Of>,
    owner: Owner,
    values: Values,
  ): ScopedStatement {
    return statement.#bind(owner, values)
  }

  #bind(owner: Owner, values: Values): ScopedStatement {
    const owned = Owner.valuesOf(owner, this.#owner)
    const parameters = this.#parameters.map((read) => read(owned, values))
    return new ScopedStatement(KEY, this, parameters, owned, this.#settings, this.#declaration)
  }
}

/** A proved statement, bound to an owner and its values: the only thing that a Runner runs. */
export class ScopedStatement implements BoundStatement {
  readonly name: string
  readonly sql: string
  readonly parameters: readonly unknown[]
  readonly types: readonly number[]
  /** Whether it changes anything, and so waits for the disk. Only affects scheduling, never correctness. */
  readonly writes: boolean
  readonly #owner: readonly string[]
  readonly #settings: Settings
  readonly #declaration: Declaration

  constructor(
    key: typeof KEY,
    {
      name,
      sql,
      types,
      writes,
    }: Omit<BoundStatement, 'parameters'> & { types: readonly number[]; writes: boolean },
    parameters: readonly unknown[],
    owner: readonly string[],
    settings: Settings,
    declaration: Declaration,
  ) {
    if (key !== KEY) throw new TypeError('only a scope binds a statement')
    this.name = name
    this.sql = sql
    this.types = types
    this.writes = writes
    this.parameters = Object.freeze(parameters)
    this.#owner = owner
    this.#settings = settings
    this.#declaration = declaration
    Object.freeze(this)
  }

  /**
   * What proved it.
   * @throws TypeError for anything that no scope has made
   */
  static declarationOf(statement: ScopedStatement): Declaration {
    return statement.#declaration
  }

  /**
   * Names the owner, for a runner that shares its connections fairly between owners; undefined for nobody.
   * @throws TypeError for anything that was not made by a scope
   */
  static ownerOf(statement: ScopedStatement): string | undefined {
    const [first, ...others] = statement.#owner
    return others.length === 0 ? first : statement.#owner.join('\0')
  }

  /**
   * The statements to send for one, so that it runs for its owner and its answer can be recognised.
   * @returns the statement after its settings, which are read again after it if `seal` is true
   * @throws TypeError for anything that was not made by a scope
   */
  static onTheWire(statement: ScopedStatement, options: SettingsValues): BoundStatement[] {
    const settings = statement.#settings
    const inFront = settings.inFront(statement.#owner, options)
    if (!options.seal) return [...inFront, statement]
    return [...inFront, statement, settings.behind(inFront.at(-1) as BoundStatement, options.rls)]
  }
}

for (const made of [Statement, ScopedStatement]) {
  Object.freeze(made)
  Object.freeze(made.prototype)
}

const compiler = new Kysely<never>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
})

/** Kysely without a connection, for statements on tables that belong to nobody. */
export const builder = compiler as unknown

const given = new Proxy({} as Given<Record<string, never>>, {
  get: (_target, name) => expressionBuilder<never>().val(new Placeholder(String(name)) as never),
})

export interface MakerOptions<Of extends Audience> {
  declaration: Declaration
  owner: OwnerColumns<never>
  /** The settings of the statements' transactions. */
  settings: Settings
  audience: Of
}

/** Builds, compiles and proves statements for one audience. */
export class StatementMaker<Of extends Audience> {
  readonly #options: MakerOptions<Of>

  constructor(options: MakerOptions<Of>) {
    this.#options = options
  }

  /** @throws UnscopedStatementError if the guard cannot prove the statement */
  make<Values, Row>(build: (given: Given<Values>) => Buildable<Row>): Statement<Values, Row, Of> {
    const compiled = build(given as unknown as Given<Values>).compile(compiler)
    try {
      return new Statement(KEY, compiled, this.#options)
    } catch (error) {
      // The guard's own frames would leave no room for the file that has the statement.
      if (error instanceof UnscopedStatementError) Error.captureStackTrace(error, this.make)
      throw error
    }
  }
}

/** The builders that are bound to the owner. */
export function mineOf<Owned>(columns: readonly string[]): Mine<Owned> {
  const value = expressionBuilder<never>().val
  const owner = Object.fromEntries(
    columns.map((column) => [column, value(new OwnerPlaceholder(column) as never)]),
  )
  // Kysely cannot follow a table name that is itself a type parameter, so a cast restores the types, once, here.
  const db = compiler as unknown as Kysely<Record<string, Record<string, unknown>>>
  const bound = <Q extends { where(column: string, operator: '=', value: unknown): Q }>(
    query: Q,
    table: string,
  ): Q => columns.reduce((q, column) => q.where(`${table}.${column}`, '=', owner[column]), query)
  const mine = {
    owner,
    selectFrom: (table: string) => bound(db.selectFrom(table) as never, table),
    insertInto: (table: string, row: object) => db.insertInto(table).values({ ...row, ...owner } as never),
    updateTable: (table: string) => bound(db.updateTable(table) as never, table),
    deleteFrom: (table: string) => bound(db.deleteFrom(table) as never, table),
    rows: (table: string) => bound(db.selectFrom(table) as never, table),
  }
  return mine as unknown as Mine<Owned>
}
