/** A statement that cannot be shown to stay within one owner's rows. */
export class UnscopedStatementError extends Error {
  /** The table that is not proved to be bound, or `(none)` where no single table is at fault. */
  readonly table: string
  constructor(table: string, why: string, options?: ErrorOptions) {
    super(why, options)
    this.name = 'UnscopedStatementError'
    this.table = table
  }
}

export function refuse(why: string, table = '(none)', options?: ErrorOptions): never {
  throw new UnscopedStatementError(table, why, options)
}
