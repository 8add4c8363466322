import pg from 'pg'

/** One statement of a batch. */
export interface Piece {
  /** Of the prepared statement; empty for none. */
  readonly name: string
  readonly sql: string
  readonly parameters: readonly unknown[]
}

/** What pg lets a query write to a connection. */
interface Wire {
  stream: { cork(): void; uncork(): void; destroy(error: Error): void }
  close(message: { type: 'S'; name: string }): void
  parse(message: { name: string; text: string; types: number[] }): void
  bind(message: {
    statement: string
    values: readonly unknown[]
    valueMapper: (value: unknown) => unknown
  }): void
  describe(message: { type: 'P'; name: string }): void
  execute(message: object): void
  sync(): void
}

interface Field {
  name: string
  parse: (text: string) => unknown
}

type Callback = (error: Error | null, rows: unknown[][]) => void

// What each connection has prepared, and the columns of each statement.
const prepared = new WeakMap<Wire, Set<string>>()
const columns = new Map<string, Field[]>()

const parsers: Record<number, (text: string) => unknown> = {
  [pg.types.builtins.INT8]: Number,
  [pg.types.builtins.TIMESTAMPTZ]: toIso,
}

/** `2026-01-31 09:30:00.123456+00` as `2026-01-31T09:30:00.123Z`, without making a Date where UTC is spoken. */
function toIso(text: string): string {
  if (!text.endsWith('+00')) return new Date(text).toISOString()
  return `${text.slice(0, 10)}T${text.slice(11, 19)}.${text.slice(20, -3).padEnd(3, '0').slice(0, 3)}Z`
}

/**
 * Statements that PostgreSQL runs as one transaction, written at once and without `begin` and `commit`: what stands
 * between two Sync messages of the extended protocol is a transaction (PostgreSQL's documentation, 55.2.4), and after
 * an error the rest is skipped. So the settings in front hold for the statements behind them and for nothing else,
 * and if they fail, nothing else runs.
 *
 * It derives from pg's own query because pg lets no other share a pipelined connection.
 */
class Batch extends pg.Query {
  declare callback: Callback
  readonly #pieces: readonly Piece[]
  readonly #rows: unknown[][]
  #fields: Field[] | undefined
  #at = 0

  constructor(pieces: readonly Piece[], callback: Callback) {
    super('')
    this.#pieces = pieces
    this.#rows = pieces.map(() => [])
    this.#fields = columns.get(pieces[0]?.name ?? '')
    this.callback = callback
  }

  // pg calls the methods from here on.
  override submit = (connection: unknown): null => {
    const wire = connection as Wire
    const { stream } = wire
    // Uncorked when all that has arrived is dealt with: one write for the batches of many requests.
    stream.cork()
    setImmediate(() => stream.uncork())

    const known = prepared.get(wire) ?? new Set()
    prepared.set(wire, known)
    for (const { name, sql, parameters } of this.#pieces) {
      if (name === '' || !known.has(name)) {
        if (name !== '') wire.close({ type: 'S', name }) // there may be one of an attempt that failed
        wire.parse({ name, text: sql, types: [] })
        if (name !== '') known.add(name)
      }
      wire.bind({ statement: name, values: parameters, valueMapper: toText })
      if (!columns.has(name)) wire.describe({ type: 'P', name: '' })
      wire.execute({})
    }
    wire.sync()
    return null
  }

  handleRowDescription({ fields }: { fields: { name: string; dataTypeID: number }[] }): void {
    this.#fields = fields.map(({ name, dataTypeID }) => ({
      name,
      parse: parsers[dataTypeID] ?? pg.types.getTypeParser(dataTypeID),
    }))
    const { name } = this.#pieces[this.#at] as Piece
    if (name !== '') columns.set(name, this.#fields)
  }

  handleDataRow({ fields: texts }: { fields: (string | null)[] }): void {
    const fields = this.#fields as Field[]
    const row: Record<string, unknown> = {}
    for (let i = 0; i < texts.length; i++) {
      const { name, parse } = fields[i] as Field
      const text = texts[i] as string | null
      row[name] = text === null ? null : parse(text)
    }
    this.#rows[this.#at]?.push(row)
  }

  handleCommandComplete(): void {
    this.#at += 1
    this.#fields = columns.get(this.#pieces[this.#at]?.name ?? '')
  }

  handleReadyForQuery(): void {
    this.callback(null, this.#rows)
  }

  handleError(error: Error, connection: unknown): void {
    // Whether they were prepared before it failed cannot be told: they will be prepared anew.
    for (const { name } of this.#pieces) prepared.get(connection as Wire)?.delete(name)
    this.callback(error, [])
  }
}

function toText(value: unknown): string | null {
  if (value === null || value === undefined) return null
  return value instanceof Date ? value.toISOString() : String(value)
}

/**
 * Runs statements as one transaction on a connection that others may share. Returns the rows of each.
 * @throws the error of the statement that failed; nothing of the batch has happened then
 */
export function runBatch(client: pg.ClientBase, pieces: readonly Piece[]): Promise<unknown[][]> {
  return new Promise((resolve, reject) => {
    client.query(new Batch(pieces, (error, rows) => (error ? reject(error) : resolve(rows))))
  })
}

/** Ends a connection at once: every batch on its way fails with this error. */
export function hangUp(client: pg.ClientBase, error: Error): void {
  const { connection } = client as unknown as { connection: Wire }
  connection.stream.destroy(error)
}
