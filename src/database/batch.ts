import pg from 'pg'
import type { BoundStatement } from '../isolation/index.ts'
import { cancel } from './cancel.ts'
import { ForeignAnswerError, isStaleStatement, UnreadableValueError } from './faults.ts'
import { type Parser, parserOf, toText } from './values.ts'

// Invariants
//   B1  A batch is one transaction: everything between two Sync messages of the extended protocol (PostgreSQL's
//       documentation, 55.2.4). After an error PostgreSQL skips the rest. So the settings apply to the statements after
//       them and to nothing else, and if they fail, nothing else runs.
//   B2  Nothing is written before all parameters have been serialized: a batch is written whole or not at all.
//   B3  Rows are delivered at ReadyForQuery, and only if every statement has completed, every row has the columns that
//       were described, and the settings read back are those that were sent. Otherwise the connection is cut.
//   B4  An error thrown while an answer is read never leaves the batch.
//   B5  A statement counts as prepared on a connection once it has completed there; its columns are known for as long.
//   B6  Where the transaction must be explicit, `begin` stands in front, and `commit` is a batch of its own, written with
//       the first at once: PostgreSQL skips what is behind an error up to the next Sync, so it is always reached, and
//       ends a failed transaction by rolling it back. Rows are delivered after it.

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

// Connections that delivered a foreign answer, with the reason: nothing that they send afterwards is trusted.
const cut = new WeakMap<Wire, Error>()

/** Extends pg.Query because pg pipelines only its own Query class; pg calls the public methods. */
class Batch extends pg.Query {
  declare callback: Callback
  readonly #statements: readonly BoundStatement[]
  readonly #onWrite: () => Error | void
  readonly #rows: unknown[][]
  /** The columns of each statement, if they are known. */
  readonly #columns: (readonly Column[] | undefined)[] = []
  #wire: Wire | undefined
  /** Index of the statement that is being answered. */
  #at = 0
  /** The command tag of the last statement that completed. */
  tag = ''
  /** Why a value could not be read. */
  #unreadable: Error | undefined

  /** @param onWrite called before it is written; returns an error if it must not be */
  constructor(statements: readonly BoundStatement[], onWrite: () => Error | void, callback: Callback) {
    super('')
    this.#statements = statements
    this.#onWrite = onWrite
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
    const refusal = this.#onWrite()
    if (refusal) return refusal
    // Uncorked once everything that has arrived is handled: one write for the batches of many requests.
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
    if (expected !== undefined) {
      if (texts[0] !== expected) return this.#refuse('the settings of another batch')
      rows.push(texts)
      return
    }
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

  handleCommandComplete({ text }: { text: string }): void {
    this.tag = text
    const statement = this.#statements[this.#at]
    if (!statement) return this.#refuse('a completion that was not asked for')
    if (statement.expected !== undefined && this.#rows[this.#at]?.length !== 1)
      return this.#refuse('no settings')
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
    // Whether they were prepared before the failure is unknown: they will be prepared again.
    for (const { name } of this.#statements) known.delete(name)
    if (isStaleStatement(error)) known.clear()
    this.callback(error, [])
  }

  /** Hangs up: after a foreign answer, no later answer on this connection can be trusted. */
  #refuse(what: string): void {
    const wire = this.#wire as Wire
    if (cut.has(wire)) return
    const error = new ForeignAnswerError(what)
    cut.set(wire, error)
    wire.stream.destroy(error)
  }
}

function columnsOn(wire: Wire): Map<string, readonly Column[]> {
  let known = prepared.get(wire)
  if (!known) {
    known = new Map()
    prepared.set(wire, known)
  }
  return known
}

export interface BatchOptions {
  /** Called when the batch is written to the connection: from then on it may run. */
  onWrite?: () => void
  /** Whether the transaction is begun and committed by statements of its own. Default false. */
  explicit?: boolean
}

/**
 * Runs statements as one transaction on a connection that others may share. Returns the rows of each. A prepared
 * statement that PostgreSQL no longer has, or whose columns have changed, is prepared again, once: nothing of the batch
 * has run by then.
 *
 * @throws the error of the statement that failed; the batch was rolled back
 * @throws ForeignAnswerError if the answer cannot be shown to be this batch's; whether it was committed is unknown
 */
export function runBatch(
  client: pg.ClientBase,
  statements: readonly BoundStatement[],
  { onWrite = () => {}, explicit = false }: BatchOptions = {},
): Promise<unknown[][]> {
  const send = explicit ? sendExplicit : sendImplicit
  return new Promise((resolve, reject) => {
    const attempt = (last: boolean) =>
      send(client, statements, onWrite, (error, rows) => {
        if (!error) resolve(rows)
        else if (isStaleStatement(error) && !last) attempt(true)
        else reject(error)
      })
    attempt(false)
  })
}

type Send = (
  client: pg.ClientBase,
  statements: readonly BoundStatement[],
  onWrite: () => void,
  done: (error: Error | null, rows: unknown[][]) => void,
) => void

const sendImplicit: Send = (client, statements, onWrite, done) =>
  void client.query(new Batch(statements, onWrite, done))

const BEGIN: BoundStatement = { name: '', sql: 'begin', parameters: [] }
const COMMIT: BoundStatement = { name: '', sql: 'commit', parameters: [] }

/** See B6. */
const sendExplicit: Send = (client, statements, onWrite, done) => {
  let written = false
  let failure: Error | null = null
  let rows: unknown[][] = []
  const write = () => {
    written = true
    onWrite()
  }
  const within = new Batch([BEGIN, ...statements], write, (error, [, ...answers]) => {
    failure = error
    rows = answers
  })
  const end = new Batch(
    [COMMIT],
    () => (written ? undefined : new Error('there is no transaction to end')),
    (error) => {
      if (failure ?? error) done(failure ?? error, rows)
      else if (end.tag !== 'COMMIT') done(new ForeignAnswerError('a rollback that was not asked for'), rows)
      else done(null, rows)
    },
  )
  void client.query(within)
  void client.query(end)
}

/**
 * Closes a connection at once: every batch in flight on it fails with this error. PostgreSQL is asked to give up what it
 * is doing for it.
 */
export function hangUp(client: pg.ClientBase, error: Error): void {
  const { connection } = client as unknown as { connection: Wire }
  connection.stream.destroy(error)
  void cancel(client)
}
