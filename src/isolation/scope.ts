import { nobody, type Owner } from './owner.ts'
import type { Declaration } from './guard/index.ts'
import { type Audience, ScopedStatement, Statement } from './statement.ts'

/** What runs statements: the README has a small one. */
export interface Runner {
  /**
   * Runs statements in one transaction. Returns the rows of each.
   * @param since when the time that they have began, as of performance.now(); default now
   */
  run(statements: readonly ScopedStatement[], since?: number): Promise<unknown[][]>
}

/**
 * The runner, but for statements of one declaration alone: whoever makes another one, with owners of their own, cannot
 * run anything by it.
 */
export function confined(runner: Runner, declaration: Declaration): Runner {
  return {
    run(statements, since) {
      for (const statement of statements) {
        if (ScopedStatement.declarationOf(statement) !== declaration)
          throw new TypeError('this statement is of another declaration')
      }
      return runner.run(statements, since)
    },
  }
}

abstract class Scope<Of extends Audience> {
  readonly #runner: Runner
  readonly #owner: Owner

  constructor(runner: Runner, owner: Owner) {
    this.#runner = runner
    this.#owner = owner
  }

  /** The statement with its values, to be run with others in one transaction. */
  bind<Values, Row>(statement: Statement<Values, Row, Of>, values: Values): ScopedStatement {
    return Statement.bind(statement, this.#owner, values)
  }

  /** Runs statements in one transaction: all of them happen, or none. Returns the rows of each. */
  async transaction(statements: readonly ScopedStatement[]): Promise<unknown[][]> {
    return this.#runner.run(statements)
  }

  /** Every row of the statement. */
  async all<Values, Row>(statement: Statement<Values, Row, Of>, values: Values): Promise<Row[]> {
    const [rows] = await this.#runner.run([this.bind(statement, values)])
    return rows as Row[]
  }

  /** The row of the statement, if there is one. */
  async first<Values, Row>(statement: Statement<Values, Row, Of>, values: Values): Promise<Row | undefined> {
    const [row] = await this.all(statement, values)
    return row
  }

  /**
   * The one row of the statement.
   * @throws the error that `missing` makes, if there is none
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

/** One owner's rows. Everything it runs is bound to that owner by all three walls; the owner cannot be changed. */
export class UserScope extends Scope<'owner'> {}

/** The tables that belong to nobody. */
export class SharedScope extends Scope<'nobody'> {
  constructor(runner: Runner) {
    super(runner, nobody)
  }
}
