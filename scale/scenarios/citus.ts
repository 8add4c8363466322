import { setTimeout as sleep } from 'node:timers/promises'
import { type Caller, load, type Scenario as Kind, scenarios } from '../../bench/load.ts'
import { callersOf, seed } from '../../bench/seed.ts'
import { median } from '../../bench/setup.ts'
import { type Answer, keepAlive, persist, thousands, timesOf, Writers } from '../../faults/clients.ts'
import { seconds } from '../../faults/writing.ts'
import type { Scenario, Tools } from '../../faults/tools.ts'
import { connect } from '../../src/database/index.ts'
import { diagnose } from '../../src/migrations/index.ts'
import { CitusCluster, createDistributed, requireCitus } from '../citus.ts'

const DATABASE = 'tasks'
const USERS = 10_000
const TASKS = 100
const CALLERS = 1000
const ROUNDS = 3
const SECONDS = 3
const CLIENTS = 32
const SHARDS = 32

const kinds = ['list', 'get', 'create', 'mix'] as const satisfies Kind[]

export default {
  name: 'citus',
  what:
    `Citus: a coordinator and 2 workers, ${thousands(USERS * TASKS)} tasks of ${thousands(USERS)} users in ${SHARDS} shards; ` +
    'the same load on one PostgreSQL in turn; ' +
    `then a third worker, and shards moved to it, under ${CLIENTS} writers and ${CLIENTS} readers without a pause, which repeat a 503`,
  goal: '0 failed but for 503s that were repeated, 0 lost, 0 doubled, the walls whole on every shard',
  async run(tools) {
    requireCitus()
    const cluster = await CitusCluster.start(2)
    tools.teardown(() => cluster.remove())
    await createDistributed(cluster.urls(), DATABASE)
    const url = cluster.coordinator.url(DATABASE)
    const plain = await tools.database()
    const [callers, plainCallers] = [await fill(tools, url), await fill(tools, plain.url)]
    for (const [server, name] of [
      [cluster.coordinator, DATABASE],
      [plain.server, plain.name],
    ] as const)
      await server.query('vacuum analyze tasks', name)

    const service = await tools.service({ DATABASE_URL: url })
    const other = await tools.service({ DATABASE_URL: plain.url })
    const rates: string[] = []
    for (const kind of kinds) {
      const ours: number[] = []
      const theirs: number[] = []
      for (let round = 0; round < ROUNDS; round++) {
        const options = { seconds: tools.seconds ?? SECONDS }
        ours.push((await load(service.url, scenarios[kind], callers, options)).rate)
        theirs.push((await load(other.url, scenarios[kind], plainCallers, options)).rate)
      }
      const [citus, one] = [median(ours), median(theirs)]
      rates.push(`${kind} ${shown(citus)} of ${shown(one)} (${Math.round((100 * citus) / one)} %)`)
    }

    const move = await underLoad(tools, cluster, service.url, callers)
    const faults = await faultsOf(url)
    const figure =
      `Requests/s on Citus, of those on one PostgreSQL: ${rates.join(', ')}. ${move.figure}; ` +
      `doctor finds ${faults.length === 0 ? 'nothing' : faults.join(' ')}`
    return { figure, ok: move.ok && faults.length === 0 }
  },
} satisfies Scenario

const shown = (rate: number) => thousands(Math.round(rate))

async function fill(tools: Tools, url: string): Promise<Caller[]> {
  const owned = await seed(url, { users: USERS, tasks: TASKS })
  return callersOf(new Map([...owned].slice(0, CALLERS)), (sub) => tools.token(sub))
}

/** Adds a worker and moves shards to it while clients write and read; then counts. */
async function underLoad(tools: Tools, cluster: CitusCluster, to: string, callers: readonly Caller[]) {
  const { coordinator } = cluster
  const count = async () => {
    const [row] = await coordinator.query<{ n: string }>('select count(*) as n from tasks', DATABASE)
    return Number(row?.n)
  }
  const before = await count()
  const tokens = await Promise.all(Array.from({ length: CLIENTS }, (_, i) => tools.token(`writer-${i}`)))
  const writers = new Writers(to, tokens, CLIENTS, { retried: true })
  let isDone = false
  const reading = readUntil(to, callers, () => isDone)
  await sleep(1000)
  const start = performance.now()
  await cluster.addWorker(DATABASE)
  // Not by replication: PostgreSQL applies no changes to a table whose policies are forced (docs/scaling.md).
  await coordinator.query("select rebalance_table_shards(shard_transfer_mode => 'block_writes')", DATABASE)
  const took = performance.now() - start
  await sleep(1000)
  await writers.stop()
  isDone = true
  const read = await reading

  const titles = await coordinator.query<{ title: string }>(
    "select title from tasks where user_id like 'writer-%'",
    DATABASE,
  )
  const { lost, doubled } = writers.compare(titles.map(({ title }) => title))
  const after = await count()
  const places = await coordinator.query<{ shards: number }>(
    "select count(*)::int as shards from citus_shards where table_name = 'tasks'::regclass group by nodeport order by nodeport",
    DATABASE,
  )
  const spread = places.map(({ shards }) => shards)
  const kept = after === before + titles.length
  const figure =
    `A third worker and its shards in ${seconds(took)} (now ${spread.join(', ')} shards): ` +
    `${thousands(writers.acknowledged.size)} writes acknowledged, **${lost} lost, ${doubled} doubled**; ${writers.answers}, ` +
    `each 503 repeated, longest ${seconds(writers.longest)}; ` +
    `reads ${read.kinds} (${thousands(read.repeats)} 503 repeated), longest ${seconds(read.max)}; ` +
    `${thousands(before)} rows before, ${kept ? 'all there' : `${thousands(before + titles.length - after)} missing`}`
  const ok =
    lost === 0 &&
    doubled === 0 &&
    kept &&
    writers.has(201, 503) &&
    writers.acknowledged.size > 0 &&
    read.failed === 0 &&
    spread.length === 3
  return { figure, ok }
}

/** Clients that list, one request after the other, each time of another user. */
async function readUntil(url: string, callers: readonly Caller[], isDone: () => boolean) {
  const agent = keepAlive()
  const answers: Answer[] = []
  let repeats = 0
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    for (let i = client; !isDone(); i += CLIENTS) {
      const { token } = callers[i % callers.length] as Caller
      const answer = await persist(url, { path: '/todos?limit=20', token, agent })
      answers.push(answer)
      repeats += answer.repeats
    }
  })
  await Promise.all(clients)
  agent.destroy()
  return { ...timesOf(answers), repeats }
}

async function faultsOf(url: string): Promise<string[]> {
  const database = await connect({ url })
  return diagnose(database).finally(() => database.close())
}
