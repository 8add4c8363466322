import pg from 'pg'
import type { BoundStatement } from '../isolation/index.ts'
import { ForeignAnswerError, isStaleStatement, UnreadableValueError } from './faults.ts'
import { type Parser, parserOf, toText } from './values.ts'

// Invariants
//   B1  A batch is one transaction: what is between two Sync messages of the extended protocol (PostgreSQL's
//       documentation, 55.2.4). After an error the rest is skipped, so the settings in front hold for the statements
//       behind them and for nothing else, and if they fail, nothing else runs.
//   B2  Nothing is written before all parameters have been put into text: a batch is written whole or not at all.
//   B3  Rows are delivered at ReadyForQuery, and only if every statement was completed, every row has the columns that
//       were described, and what is read back of the settings is what was sent. Otherwise the connection is cut.
//   B4  Nothing that is thrown while an answer is read leaves the batch.
//   B5  A statement counts as prepared on a connection once it was completed there; its columns are known as long.

/** What pg lets a query write to a connection. */
interface Wire {
  stream: { cork(): void; uncork(): void; destroy(error: Error): void }
  close(message: { type: 'S'; name: string }): void
  parse(message: { name: string; text: string; types: readonly number[] }): void
  bind(message: { statement: string; values: readonly unknown[] }): void
  describe(message: { type: 'P'; name: string }): void
  execute(message: object): void
  sync(): void
}

interface Column {
  name: string
  parse: Parser
}

type Callback = (error: Error | null, rows: unknown[][]) => void

// What each connection has prepared, with the columns of each statement.
const prepared = new WeakMap<Wire, Map<string, readonly Column[]>>()

// A statement without rows has no columns.
const NONE: readonly Column[] = []

// Connections that gave an answer of somebody else, with the reason: nothing that they say after it is believed.
const cut = new WeakMap<Wire, Error>()

/** Extends pg.Query because pg pipelines only its own Query class; pg calls the public methods. */
class Batch extends pg.Query {
  declare callback: Callback
  readonly #statements: readonly BoundStatement[]
  readonly #rows: unknown[][]
  /** Of each statement, as far as they are known. */
  readonly #columns: (readonly Column[] | undefined)[] = []
  #wire: Wire | undefined
  /** The statement that is being answered. */
  #at = 0
  /** Why a value could not be read. */
  #unreadable: Error | undefined

  constructor(statements: readonly BoundStatement[], callback: Callback) {
    super('')
    this.#statements = statements
    this.#rows = statements.map(() => [])
    this.callback = callback
  }

  override submit = (connection: unknown): Error | null => {
    const wire = connection as Wire
    let values: unknown[][]
    try {
      values = this.#statements.map(({ parameters }) => parameters.map(toText))
    } catch (error) {
      return error as Error
    }

    this.#wire = wire
    // Uncorked when all that has arrived is dealt with: one write for the batches of many requests.
    wire.stream.cork()
    setImmediate(() => wire.stream.uncork())
    const known = columnsOn(wire)
    for (let i = 0; i < this.#statements.length; i++) {
      const { name, sql, types } = this.#statements[i] as BoundStatement
      const columns = name === '' ? undefined : known.get(name)
      this.#columns.push(columns)
      if (!columns) {
        if (name !== '') wire.close({ type: 'S', name }) // may be left over from a failed attempt
        wire.parse({ name, text: sql, types: types ?? [] })
      }
      wire.bind({ statement: name, values: values[i] as unknown[] })
      if (!columns) wire.describe({ type: 'P', name: '' })
      wire.execute({})
    }
    wire.sync()
    return null
  }

  handleRowDescription({ fields }: { fields: { name: string; dataTypeID: number }[] }): void {
    this.#columns[this.#at] = fields.map(({ name, dataTypeID }) => ({ name, parse: parserOf(dataTypeID) }))
  }

  handleDataRow({ fields: texts }: { fields: (string | null)[] }): void {
    const columns = this.#columns[this.#at]
    const rows = this.#rows[this.#at]
    if (!rows || columns?.length !== texts.length) return this.#refuse('a row that was not asked for')
    const expected = this.#statements[this.#at]?.expected
    if (expected?.some((value, i) => value !== texts[i])) return this.#refuse('the settings of another batch')
    if (this.#unreadable) return
    try {
      const row: Record<string, unknown> = {}
      for (let i = 0; i < texts.length; i++) {
        const { name, parse } = columns[i] as Column
        const text = texts[i] as string | null
        row[name] = text === null ? null : parse(text)
      }
      rows.push(row)
    } catch (error) {
      this.#unreadable = error as Error
    }
  }

  handleCommandComplete(): void {
    const statement = this.#statements[this.#at]
    if (!statement) return this.#refuse('a completion that was not asked for')
    if (statement.expected && this.#rows[this.#at]?.length !== 1) return this.#refuse('no settings')
    if (statement.name !== '')
      columnsOn(this.#wire as Wire).set(statement.name, this.#columns[this.#at] ?? NONE)
    this.#at += 1
  }

  handleReadyForQuery(): void {
    if (this.#at !== this.#statements.length) this.#refuse('an answer that was cut short')
    const refused = cut.get(this.#wire as Wire)
    if (refused) return this.callback(refused, [])
    if (this.#unreadable) return this.callback(new UnreadableValueError(this.#unreadable), [])
    this.callback(null, this.#rows)
  }

  handlePortalSuspended(): void {
    this.#refuse('a portal that was suspended')
  }

  handleCopyInResponse(): void {
    this.#refuse('a request for data to copy')
  }

  handleError(error: Error, connection: unknown): void {
    const known = columnsOn(connection as Wire)
    // Whether they were prepared before it failed cannot be known: they will be prepared anew.
    for (const { name } of this.#statements) known.delete(name)
    if (isStaleStatement(error)) known.clear()
    this.callback(error, [])
  }

  /** Hangs up: where one answer is not the asker's, none after it on this connection is known to be. */
  #refuse(what: string): void {
    const wire = this.#wire as Wire
    const error = new ForeignAnswerError(what)
    cut.set(wire, error)
    wire.stream.destroy(error)
  }
}

function columnsOn(wire: Wire): Map<string, readonly Column[]> {
  const known = prepared.get(wire) ?? new Map<string, readonly Column[]>()
  prepared.set(wire, known)
  return known
}

/**
 * Runs statements as one transaction on a connection that others may share. Returns the rows of each. A prepared
 * statement that PostgreSQL no longer has, or whose columns have changed, is prepared anew, once: nothing has happened
 * by then.
 *
 * @throws the error of the statement that failed; nothing of the batch has happened then
 * @throws ForeignAnswerError if the answer is not known to be this batch's; whether it has happened is unknown
 */
export function runBatch(client: pg.ClientBase, statements: readonly BoundStatement[]): Promise<unknown[][]> {
  return new Promise((resolve, reject) => {
    const attempt = (last: boolean) =>
      void client.query(
        new Batch(statements, (error, rows) => {
          if (!error) resolve(rows)
          else if (isStaleStatement(error) && !last) attempt(true)
          else reject(error)
        }),
      )
    attempt(false)
  })
}

/** Ends a connection at once: every batch under way on it fails with this error. */
export function hangUp(client: pg.ClientBase, error: Error): void {
  const { connection } = client as unknown as { connection: Wire }
  connection.stream.destroy(error)
}
