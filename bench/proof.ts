import { type Load, load, type Scenario, scenarios } from './load.ts'
import { type Pair, ratio, type Row, table, writeSection } from './results.ts'
import { callersOf, seed } from './seed.ts'
import { start, TASKWARD } from './servers.ts'
import { print, type Setup, withSetup } from './setup.ts'

const MEASURED: readonly Scenario[] = ['list', 'get', 'create']
const USERS = 1000
const TASKS_PER_USER = 100
const ROUNDS = 25
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
  const side = { now: 'ours' as keyof Pair }
  async function loadOn(wanted: keyof Pair, name: Scenario): Promise<Load> {
    if (side.now !== wanted) server.signal('SIGWINCH')
    side.now = wanted
    return load(server.url, scenarios[name], callers, { seconds: SECONDS })
  }

  try {
    const rows: Row[] = []
    for (const name of MEASURED) {
      const pairs: Pair[] = []
      // The first rounds warm up, and do not count.
      for (let round = -3; round < ROUNDS; round++) {
        const pair = {} as Pair
        for (const wanted of round % 2 === 0 ? (['ours', 'other'] as const) : (['other', 'ours'] as const))
          pair[wanted] = await loadOn(wanted, name)
        if (round >= 0) pairs.push(pair)
        print(`${name}: ${ratio(pair).toFixed(2)}${round < 0 ? ' (warming up)' : ''}`)
      }
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
