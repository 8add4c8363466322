import { alternate } from './alternate.ts'
import { type Load, load, type Scenario, scenarios } from './load.ts'
import { type Pair, type Row, table, writeSection } from './results.ts'
import { callersOf, seed } from './seed.ts'
import { start, TASKWARD } from './servers.ts'
import { type Setup, withSetup } from './setup.ts'

const MEASURED: readonly Scenario[] = ['list', 'get', 'create']
const USERS = 1000
const TASKS_PER_USER = 100
const ROUNDS = 25
const WARM_UP = 3
const SECONDS = 1

/**
 * Measures what it costs that each answer is proved to be its asker's, in one process that proves and does not, in
 * turn. Writes a section of bench/RESULTS.md.
 */
export const proof = (address: string): Promise<void> => withSetup(address, measure)

async function measure({ url, issuer, env, logFile, machine }: Setup): Promise<void> {
  const owned = await seed(url, { users: USERS, tasks: TASKS_PER_USER })
  const callers = await callersOf(owned, (sub) => issuer.sign('HS256', sub))
  const server = await start(
    ['--import', './bench/without-proof.ts', ...TASKWARD],
    { ...env, DATABASE_URL: url },
    logFile,
  )
  let proves = true
  const loadOn = (side: keyof Pair, name: Scenario): Promise<Load> => {
    if (proves !== (side === 'ours')) server.signal('SIGWINCH')
    proves = side === 'ours'
    return load(server.url, scenarios[name], callers, { seconds: SECONDS })
  }

  try {
    const rows: Row[] = []
    for (const name of MEASURED) {
      const pairs = await alternate(name, (side) => loadOn(side, name), { rounds: ROUNDS, warmUp: WARM_UP })
      rows.push({ name: `${name} with proof vs. without`, pairs, remark: '≥ 0.97' })
    }
    writeSection('The proof of each answer', [
      machine,
      '',
      `What it costs to set the search path, and to send a nonce with each batch and compare what comes back: one process that does so and does not, in turn. ` +
        `Medians of ${ROUNDS} rounds of ${SECONDS} s each.`,
      '',
      ...table('goal', rows),
    ])
  } finally {
    await server.stop()
  }
}
