import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { type Caller, CONNECTIONS, load, type Load, type Scenario, TASKS_PER_USER, USERS } from './load.ts'
import { ENVIRONMENT, openIssuer } from './issuer.ts'
import { callersOf, makeDatabase, seed } from './seed.ts'
import { type Server, start } from './servers.ts'

// Compares the service, with everything on as in production, with a server by hand (bench/bare.ts): alternately, in
// one run, on one database. What counts is the ratio; the figures themselves are the machine's.

const SCENARIOS: Scenario[] = ['list', 'get', 'create', 'mix']
const ROUNDS = 3
const SECONDS = 4
const WARM_UP_SECONDS = 2

interface Pair {
  bare: Load
  ours: Load
}

const median = (values: number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number
const ratio = ({ bare, ours }: Pair): number => ours.rate / bare.rate
const print = (line: string): void => void process.stdout.write(`${line}\n`)

async function compare(bare: Server, ours: Server, scenario: Scenario, callers: Caller[]): Promise<Pair[]> {
  const pairs: Pair[] = []
  for (const server of [bare, ours]) await load(server.url, scenario, callers, { seconds: WARM_UP_SECONDS })
  for (let round = 0; round < ROUNDS; round++) {
    const measured = {
      bare: await load(bare.url, scenario, callers, { seconds: SECONDS }),
      ours: await load(ours.url, scenario, callers, { seconds: SECONDS }),
    }
    pairs.push(measured)
    print(`${scenario}: ${ratio(measured).toFixed(2)}`)
  }
  return pairs
}

function row(name: string, pairs: Pair[], goal: string): string {
  const ratios = pairs.map(ratio)
  const of = (side: keyof Pair, figure: keyof Load) =>
    median(pairs.map((pair) => pair[side][figure])).toFixed(0)
  const spread = `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`
  const p99 = `${of('ours', 'p99')} / ${of('bare', 'p99')}`
  return `| ${name} | **${median(ratios).toFixed(2)}** | ${spread} | ${goal} | ${of('ours', 'rate')} / ${of('bare', 'rate')} | ${p99} |`
}

const { BENCH_DATABASE_URL } = process.env
if (!BENCH_DATABASE_URL) {
  await smoke()
  process.exit()
}

const folder = mkdtempSync(join(tmpdir(), 'taskward-bench-'))
const database = await makeDatabase(BENCH_DATABASE_URL)
const owned = await seed(database.url, USERS, TASKS_PER_USER)
const issuer = await openIssuer()
const env = { ...ENVIRONMENT, BETTER_AUTH_URL: issuer.url, DATABASE_URL: database.url }
const bare = await start('bench/bare.ts', env)
const ours = await start('src/server.ts', env, join(folder, 'requests.log'))

try {
  const withSecret = await callersOf(owned, (sub) => issuer.sign('HS256', sub))
  const withKey = await callersOf(owned, (sub) => issuer.sign('EdDSA', sub))

  const goals: Record<Scenario, string> = { list: '≥ 1.3', get: '≥ 1.0', create: '≥ 1.0', mix: '≥ 1.2' }
  const rows: string[] = []
  for (const scenario of SCENARIOS)
    rows.push(row(scenario, await compare(bare, ours, scenario, withSecret), goals[scenario]))

  const keys: Pair[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const byKey = await load(ours.url, 'list', withKey, { seconds: SECONDS })
    const bySecret = await load(ours.url, 'list', withSecret, { seconds: SECONDS })
    if (round > 0) keys.push({ ours: byKey, bare: bySecret }) // the first one verifies each token once
  }
  rows.push(row('EdDSA / HS256 tokens', keys, '≥ 0.9'))

  const report = [
    '# Benchmark results',
    '',
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, ` +
      `Node.js ${process.version}, ${database.version}. Load generator, server and database share the machine.`,
    '',
    `${CONNECTIONS} connections; ${USERS} users with ${TASKS_PER_USER} tasks each; \`list\` is 20 tasks of a random user, \`mix\` is 70 % list, ` +
      `20 % get, 10 % create or toggle. Medians of ${ROUNDS} rounds of ${SECONDS} s, both servers alternately.`,
    '',
    '| | ratio | spread | goal | requests/s, taskward / by hand | p99 in ms |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
    `Memory after it: taskward ${ours.rss().toFixed(0)} MB, by hand ${bare.rss().toFixed(0)} MB.`,
    '',
  ].join('\n')
  writeFileSync('bench/RESULTS.md', report)
  print(report)
} finally {
  await Promise.all([bare.stop(), ours.stop()])
  issuer.close()
  await database.drop()
  rmSync(folder, { recursive: true })
}

/** Without a PostgreSQL: whether the service answers under load, on the embedded one. There is nothing to compare. */
async function smoke(): Promise<void> {
  print(
    'No BENCH_DATABASE_URL (postgres://…): a smoke run on the embedded database, without the server by hand.',
  )
  const folder = mkdtempSync(join(tmpdir(), 'taskward-bench-'))
  const url = `pglite:${folder}`
  const owned = await seed(url, 20, TASKS_PER_USER)
  const issuer = await openIssuer()
  const server = await start(
    'src/server.ts',
    { ...ENVIRONMENT, DATABASE_URL: url },
    join(folder, 'requests.log'),
  )
  const callers = await callersOf(owned, (sub) => issuer.sign('HS256', sub))
  for (const scenario of SCENARIOS) {
    const { rate, p99 } = await load(server.url, scenario, callers, { seconds: SECONDS })
    print(`${scenario}: ${rate.toFixed(0)} requests/s, p99 ${p99} ms, every answer 2xx`)
  }
  await server.stop()
  issuer.close()
  rmSync(folder, { recursive: true })
}
