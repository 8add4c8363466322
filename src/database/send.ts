import { randomBytes } from 'node:crypto'
import type pg from 'pg'
import { type BoundStatement, ScopedStatement } from '../isolation/index.ts'
import { runBatch } from './batch.ts'

export interface SenderOptions {
  /** Milliseconds that statements have, from their arrival. */
  statementTimeout: number
  /** Whether statements run under roles of their own. */
  rls: boolean
  /** Whether statements are named and prepared once. If not, each is sealed. */
  prepare: boolean
}

export interface SendOptions {
  /** Whether to prove that each statement ran in one transaction with its settings. */
  sealed: boolean
  /** Milliseconds since the statements arrived. Default 0. */
  waited?: number
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
export function sender({ statementTimeout, rls, prepare }: SenderOptions) {
  return async (
    client: pg.ClientBase,
    statements: readonly ScopedStatement[],
    { sealed, waited = 0, onWrite }: SendOptions,
  ): Promise<unknown[][]> => {
    const timeout =
      waited < WORTH_COUNTING_MS ? statementTimeout : Math.ceil(Math.max(statementTimeout - waited, 1))
    const seal = sealed || !prepare
    const options = { nonce: nextNonce(), timeout, rls, seal }
    const batch: BoundStatement[] = []
    for (const statement of statements) batch.push(...ScopedStatement.onTheWire(statement, options))
    const rows = await runBatch(client, prepare ? batch : batch.map(unnamed), onWrite)
    const step = seal ? 3 : 2
    return statements.map((_, i) => rows[step * i + 1] as unknown[])
  }
}
