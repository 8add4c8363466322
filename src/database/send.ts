import { randomBytes } from 'node:crypto'
import type pg from 'pg'
import { type BoundStatement, ScopedStatement } from '../isolation/index.ts'
import { runBatch } from './batch.ts'

export interface SenderOptions {
  /** Milliseconds that statements have, from their arrival. */
  statementTimeout: number
  /** Whether statements run under roles of their own. */
  rls: boolean
  /** Whether statements are named and prepared once. If not, each is sealed; else those of a new connection. */
  prepare: boolean
  /** Whether a connection leads to Citus. */
  isCitus(client: pg.ClientBase): boolean
}

export interface SendOptions {
  /** Whether to prove that each statement ran in one transaction with its settings. */
  sealed: boolean
  /** Milliseconds since the statements arrived. Default 0. */
  waited?: number
  /** Milliseconds to wait for a lock at most. Default: the statements' time. */
  lockTimeout?: number
  /** Called when they are written to the connection: from then on they may run. */
  onWrite?: () => void
}

// What waits for less has its whole time: most statements then carry the same text.
const WORTH_COUNTING_MS = 20

// Unique across processes, because several may share a pooler's connections.
const PROCESS = randomBytes(12).toString('base64url')
let batches = 0
const nextNonce = () => `${PROCESS}:${(batches += 1)}`

const unnamed = ({ sql, parameters, types, expected }: BoundStatement): BoundStatement => ({
  name: '',
  sql,
  parameters,
  types,
  expected,
})

/** Makes the function that sends statements with their settings, as one batch. It returns the rows of each statement. */
export function sender({ statementTimeout, rls, prepare, isCitus }: SenderOptions) {
  // Those on which a sealed batch was answered: a pooler that splits transactions would have split it.
  const proved = new WeakSet<pg.ClientBase>()
  return async (
    client: pg.ClientBase,
    statements: readonly ScopedStatement[],
    { sealed, waited = 0, lockTimeout, onWrite }: SendOptions,
  ): Promise<unknown[][]> => {
    const timeout =
      waited < WORTH_COUNTING_MS ? statementTimeout : Math.ceil(Math.max(statementTimeout - waited, 1))
    const seal = sealed || !prepare || !proved.has(client)
    const citus = isCitus(client)
    const options = { nonce: nextNonce(), timeout, lockTimeout, rls, seal, citus }
    const batch: BoundStatement[] = []
    // Where the statements are among their settings.
    const places = statements.map((statement) => {
      batch.push(...ScopedStatement.onTheWire(statement, options))
      return batch.length - (seal ? 2 : 1)
    })
    const made = prepare ? batch : batch.map(unnamed)
    const rows = await runBatch(client, made, { onWrite, explicit: citus })
    if (seal) proved.add(client)
    return places.map((place) => rows[place] as unknown[])
  }
}
