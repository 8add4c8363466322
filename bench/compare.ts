import { alternate } from './alternate.ts'
import { type Caller, CONNECTIONS, load, type Make, type Scenario, scenarios } from './load.ts'
import { type Pair, type Row, table, writeSection } from './results.ts'
import { callersOf, seed } from './seed.ts'
import { type Server, start, TASKWARD } from './servers.ts'
import { type Setup, withSetup } from './setup.ts'

const GOALS: Record<Scenario, string> = {
  list: '≥ 1.3',
  chosen: '',
  get: '≥ 1.0',
  create: '≥ 1.0',
  mix: '≥ 1.2',
}
const USERS = 1000
const TASKS_PER_USER = 100
// Rounds against the hand-written server, and against the service itself.
const ROUNDS = 6
const FEWER_ROUNDS = 3
const SECONDS = 3

type Side = [server: Server, callers: readonly Caller[]]

/**
 * Compares the service, with everything on as in production, with a hand-written server (bench/bare.ts): alternately,
 * in one run, on one database. What counts is the ratio; the absolute figures depend on the machine. Writes a section
 * of bench/RESULTS.md.
 */
export const compare = (address: string): Promise<void> => withSetup(address, measure)

async function measure({ url, issuer, env, logFile, machine }: Setup): Promise<void> {
  const owned = await seed(url, { users: USERS, tasks: TASKS_PER_USER })
  const withSecret = await callersOf(owned, (sub) => issuer.sign('HS256', sub))
  const withKey = await callersOf(owned, (sub) => issuer.sign('EdDSA', sub))
  const servers: Server[] = []
  async function open(...args: Parameters<typeof start>): Promise<Server> {
    const server = await start(...args)
    servers.push(server)
    return server
  }

  try {
    const bare = await open(['bench/bare.ts'], env)
    const ours = await open(TASKWARD, env, logFile)
    const rows: Row[] = []
    for (const [name, make] of Object.entries(scenarios)) {
      const pairs = await inTurn(name, make, [ours, withSecret], [bare, withSecret], ROUNDS)
      rows.push({ name: `${name} vs. the hand-written server`, pairs, remark: GOALS[name as Scenario] })
    }
    const memory = `${ours.rss().toFixed(0)} MB, the hand-written server ${bare.rss().toFixed(0)} MB`

    const { list } = scenarios
    const keys = await inTurn('EdDSA', list, [ours, withKey], [ours, withSecret], FEWER_ROUNDS)
    rows.push({ name: 'list with EdDSA tokens vs. HS256', pairs: keys, remark: '≥ 0.9' })
    const empty = await open(['bench/empty.ts'], env)
    const limit = await inTurn('empty', list, [ours, withSecret], [empty, withSecret], FEWER_ROUNDS)
    rows.push({ name: 'list vs. an empty Fastify route', pairs: limit, remark: '' })

    writeSection('A hand-written server', [
      machine,
      '',
      `${CONNECTIONS} connections; ${USERS} users with ${TASKS_PER_USER} tasks each; \`list\` is 20 tasks of a random user, \`chosen\` those that are not done and have a word in them, by title, \`mix\` is 70 % list, ` +
        `20 % get, 10 % create or toggle. Medians of ${ROUNDS} rounds of ${SECONDS} s (${FEWER_ROUNDS} rounds in the last two lines), the two sides in turn.`,
      '',
      ...table('goal', rows),
      '',
      `Memory after the first five: taskward ${memory}.`,
    ])
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
}

const inTurn = (name: string, make: Make, ours: Side, other: Side, rounds: number): Promise<Pair[]> => {
  const sides = { ours, other }
  const loadOn = (side: keyof Pair) => {
    const [{ url }, callers] = sides[side]
    return load(url, make, callers, { seconds: SECONDS })
  }
  return alternate(name, loadOn, { rounds, warmUp: 1 })
}
