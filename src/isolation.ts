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
  type QueryCreator,
  type RootOperationNode,
  type SelectQueryBuilder,
  type UpdateQueryBuilder,
  type UpdateResult,
} from 'kysely'
import { type Database, type OwnedTables, ownedTables, type SharedTables, type Step } from './database.ts'
import { guard, type GuardRules } from './guard.ts'
import { type Role, SERVICE_ROLE, USER_ROLE } from './row-level-security.ts'

type Owned = keyof OwnedTables
type View<T extends Owned> = Pick<OwnedTables, T>

/** A value that is given when the statement runs, not when it is compiled. */
class Placeholder {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

const currentUser = new Placeholder('user_id')

/** What the guard proves statements by. Where nobody is the current user, it refuses every user-owned table. */
export const guardRules: GuardRules = { ownedTables: new Set(Object.keys(ownedTables)), currentUser }
const sharedRules: GuardRules = { ...guardRules, currentUser: Symbol('nobody') }

/**
 * The first wall: the only way to build a statement on a user-owned table. Each builder comes already bound to the
 * current user, and shows no other user-owned table to join: join `rows(…)` instead, which is bound as well.
 */
export interface Mine {
  selectFrom<T extends Owned>(table: T): SelectQueryBuilder<View<T>, T, object>
  /** `row` without `user_id`, which is written for it. */
  insertInto<T extends Owned>(
    table: T,
    row: InsertObject<OwnedTables, T>,
  ): InsertQueryBuilder<View<T>, T, InsertResult>
  updateTable<T extends Owned>(table: T): UpdateQueryBuilder<View<T>, T, T, UpdateResult>
  deleteFrom<T extends Owned>(table: T): DeleteQueryBuilder<View<T>, T, DeleteResult>
  /** The user's rows as a sub-query: `.innerJoin(mine.rows('notes').as('notes'), …)`. */
  rows<T extends Owned>(table: T): SelectQueryBuilder<OwnedTables, T, Record<never, never>>
}

/** Placeholders for the values of a statement, by name and with their types. */
export type Given<Values> = { readonly [K in keyof Values]-?: Expression<Values[K]> }

/** Every statement on a user-owned table that there is, for proofs over all of them. */
export const statements: Statement<any, unknown, 'user'>[] = []

/** A statement that was compiled and guarded once, and is run with new values each time. */
export class Statement<Values, Row, Of extends 'user' | 'nobody'> {
  /** Names the prepared statement: derived from the SQL, so that equal SQL shares one. */
  readonly name: string
  readonly sql: string
  /** What the guard has proved. */
  readonly query: RootOperationNode
  readonly writes: boolean
  readonly #parameters: readonly unknown[]
  /** Only for the compiler: what it may be run by, and the type of a row. */
  readonly of?: Of
  readonly row?: Row

  constructor({ sql, parameters, query }: CompiledQuery<Row>, rules: GuardRules) {
    guard(query, rules)
    this.name = createHash('sha256').update(sql).digest('base64url').slice(0, 16)
    this.sql = sql
    this.query = query
    this.writes = query.kind !== 'SelectQueryNode'
    this.#parameters = parameters
  }

  /** Turns one user and the values by name into the parameters $1, $2, … */
  bind(userId: string, values: Values): unknown[] {
    return this.#parameters.map((parameter) => {
      if (parameter === currentUser) return userId
      return parameter instanceof Placeholder ? values[parameter.name as keyof Values] : parameter
    })
  }
}

const compiler = new Kysely<OwnedTables & SharedTables>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
})

const user = expressionBuilder<never>().val(currentUser as never)

// Kysely cannot follow a table name that is itself a type parameter, so the types are restored by hand here, once.
const mine = {
  selectFrom: (table: Owned) => compiler.selectFrom(table).where(`${table}.user_id`, '=', user),
  insertInto: (table: Owned, row: object) =>
    compiler.insertInto(table).values({ ...row, user_id: user } as never),
  updateTable: (table: Owned) => compiler.updateTable(table).where(`${table}.user_id`, '=', user),
  deleteFrom: (table: Owned) => compiler.deleteFrom(table).where(`${table}.user_id`, '=', user),
  rows: (table: Owned) => compiler.selectFrom(table).where(`${table}.user_id`, '=', user),
} as unknown as Mine

const given = new Proxy({} as Given<Record<string, never>>, {
  get: (_target, name) => expressionBuilder<never>().val(new Placeholder(String(name)) as never),
})

/**
 * Compiles a statement on user-owned tables once, and has the guard prove it (the second wall). Call it at module
 * level: a statement that is not bound to one user then keeps the process from starting.
 *
 * @param build builds the statement from the user's own tables (`mine`) and placeholders for its values (`given`)
 * @throws UnscopedStatementError if the guard cannot prove the statement
 */
export function statement<Row, Values = Record<never, never>>(
  build: (mine: Mine, given: Given<Values>) => Compilable<Row>,
): Statement<Values, Row, 'user'> {
  const made = new Statement<Values, Row, 'user'>(
    build(mine, given as unknown as Given<Values>).compile(),
    guardRules,
  )
  statements.push(made)
  return made
}

/**
 * The same for tables that belong to nobody. User-owned ones are neither in its types nor pass the guard.
 * @throws UnscopedStatementError
 */
export function sharedStatement<Row, Values = Record<never, never>>(
  build: (db: QueryCreator<SharedTables>, given: Given<Values>) => Compilable<Row>,
): Statement<Values, Row, 'nobody'> {
  const shared = compiler as unknown as QueryCreator<SharedTables>
  return new Statement(build(shared, given as unknown as Given<Values>).compile(), sharedRules)
}

abstract class Scope<Of extends 'user' | 'nobody'> {
  readonly #database: Database
  readonly #userId: string
  readonly #role: Role

  constructor(database: Database, userId: string, role: Role) {
    this.#database = database
    this.#userId = userId
    this.#role = role
  }

  /** The statement with its values, to be run with others in one transaction: Database.run(). */
  step<Values, Row>(statement: Statement<Values, Row, Of>, values: Values): Step {
    const { name, sql, writes } = statement
    return {
      userId: this.#userId,
      role: this.#role,
      name,
      sql,
      writes,
      parameters: statement.bind(this.#userId, values),
    }
  }

  /** Every row of the statement. */
  async all<Values, Row>(statement: Statement<Values, Row, Of>, values: Values): Promise<Row[]> {
    const [rows] = await this.#database.run([this.step(statement, values)])
    return rows as Row[]
  }

  /** The row of the statement, if there is one. */
  async first<Values, Row>(statement: Statement<Values, Row, Of>, values: Values): Promise<Row | undefined> {
    const [row] = await this.all(statement, values)
    return row
  }

  /**
   * The one row of the statement.
   * @throws what `missing` makes, if there is none
   */
  async one<Values, Row>(
    statement: Statement<Values, Row, Of>,
    values: Values,
    missing?: () => Error,
  ): Promise<Row> {
    const [row] = await this.all(statement, values)
    if (row === undefined) throw missing?.() ?? new Error(`No row came back from: ${statement.sql}`)
    return row
  }
}

/** One user's rows. Everything it runs is bound to that user by all three walls; the user cannot be changed. */
export class UserScope extends Scope<'user'> {
  /** @param userId 1–255 characters, from a verified token */
  constructor(database: Database, userId: string) {
    super(database, userId, USER_ROLE)
  }
}

/** The tables that belong to nobody. */
export class SharedScope extends Scope<'nobody'> {
  constructor(database: Database) {
    super(database, '', SERVICE_ROLE)
  }
}
