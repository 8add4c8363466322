import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import pg from 'pg'
import { type Chart, drawCharts, type Point } from './chart.ts'
import { bearer, type Caller, CONNECTIONS, type Load, load, scenarios } from './load.ts'
import { type Row, table, writeSection } from './results.ts'
import { callersOf, seed } from './seed.ts'
import { type Server, start, TASKWARD } from './servers.ts'
import { median, print, type Setup, withSetup } from './setup.ts'

const CHART = 'docs/latency.svg'
const ROUND_TRIPS = [1, 2, 5]
const SERVERS: [name: string, args: readonly string[]][] = [
  ['taskward', TASKWARD],
  ['Kysely', ['bench/libraries/kysely.ts']],
  ['Drizzle', ['bench/libraries/drizzle.ts']],
  ['Prisma', ['bench/libraries/prisma.ts']],
  ['postgres.js', ['bench/libraries/postgres-js.ts']],
]
const USERS = 1000
const TASKS_PER_USER = 100
const ROUNDS = 3
const SECONDS = 2
const { list } = scenarios

interface Side {
  name: string
  server: Server
  /** One for each round. */
  loads: Load[]
  /** Milliseconds until a request is answered while there is no other. */
  alone: number
}

/**
 * Compares a list under row-level security, with the database some milliseconds away, with the same list through other
 * libraries: begin, settings, statement and commit, as their guides say. Writes a section of bench/RESULTS.md and
 * docs/latency.svg.
 */
export async function latency(address: string): Promise<void> {
  install()
  await withSetup(address, measure)
}

const INSTALL = 'npm --prefix bench ci --no-audit --no-fund && npm --prefix bench run generate'

/** The libraries have a package.json of their own, because the service needs none of them. */
function install(): void {
  if (existsSync('bench/generated')) return
  print(`Installing the libraries: ${INSTALL}`)
  const { status } = spawnSync(INSTALL, { shell: true, stdio: 'inherit' })
  if (status !== 0) throw new Error(`The libraries could not be installed. Try it by hand: ${INSTALL}`)
}

async function measure({ url, issuer, env, logFile, machine }: Setup): Promise<void> {
  const owned = await seed(url, { users: USERS, tasks: TASKS_PER_USER })
  const callers = await callersOf(owned, (sub) => issuer.sign('HS256', sub))
  const charts: Chart[] = []
  const rows: Row[] = []
  const roundTrips: string[] = []
  for (const milliseconds of ROUND_TRIPS) {
    const link = await openLink(url, milliseconds)
    const sides: Side[] = []
    try {
      roundTrips.push((await measureRoundTrip(link.url)).toFixed(1))
      for (const [name, args] of SERVERS) {
        const server = await start(args, { ...env, DATABASE_URL: link.url }, logFile)
        sides.push({ name, server, loads: [], alone: 0 })
      }
      await expectSameAnswers(sides, callers)
      await loadInTurn(sides, callers)
    } finally {
      await Promise.all(sides.map(({ server }) => server.stop()))
      link.close()
    }
    charts.push({ title: `Database ${milliseconds} ms away, there and back`, points: sides.map(pointOf) })
    rows.push(...rowsOf(sides, `${milliseconds} ms`))
  }

  const what = `a list of 20 tasks under row-level security, ${CONNECTIONS} connections`
  writeFileSync(CHART, drawCharts(charts, `Requests/s for ${what}. ${machine}`))
  writeSection('A distant database', [
    machine,
    '',
    `Requests for ${what}; ${USERS} users with ${TASKS_PER_USER} tasks each. A proxy in front of the database delays each direction by ` +
      `half of the milliseconds named (a round trip really took ${roundTrips.join(', ')} ms). The others are Fastify servers with a pool of 10: ` +
      `begin, settings, statement and commit, as the guides of ${versions()} say. ` +
      `Medians of ${ROUNDS} rounds of ${SECONDS} s, all in turn. "Alone" is the median time of a request while there are no others.`,
    '',
    ...table('alone, in ms', rows),
  ])
  print(`Drawn: ${CHART}`)
}

const pointOf = ({ name, loads }: Side): Point => ({
  label: name,
  value: Math.round(median(loads.map(({ rate }) => rate))),
})

function rowsOf([ours, ...others]: readonly Side[], prefix: string): Row[] {
  return others.map(({ name, loads, alone }) => ({
    name: `${prefix} vs. ${name}`,
    pairs: loads.map((other, round) => ({ ours: ours?.loads[round] as Load, other })),
    remark: `${ours?.alone.toFixed(1)} / ${alone.toFixed(1)}`,
  }))
}

/** The libraries with their versions. */
function versions(): string {
  const { packages } = JSON.parse(readFileSync('bench/package-lock.json', 'utf8'))
  return ['kysely', 'drizzle-orm', '@prisma/client', 'postgres']
    .map((name) => `${name} ${packages[`node_modules/${name}`].version}`)
    .join(', ')
}

/** A way to the database that takes some milliseconds there and back. */
async function openLink(address: string, milliseconds: number) {
  const { hostname, port } = new URL(address)
  const proxy = fork('bench/delay.ts', [hostname, port || '5432', String(milliseconds)])
  const [at] = await once(proxy, 'message')
  const url = new URL(address)
  url.host = `127.0.0.1:${at}`
  return { url: url.href, roundTrip: await measureRoundTrip(url.href), close: () => proxy.disconnect() }
}

async function measureRoundTrip(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const times: number[] = []
  for (let i = 0; i < 100; i++) {
    const before = performance.now()
    await client.query('select')
    times.push(performance.now() - before)
  }
  await client.end()
  return median(times)
}

/** @throws Error unless all sides give some users the same tasks, byte for byte */
async function expectSameAnswers(sides: readonly Side[], callers: readonly Caller[]): Promise<void> {
  for (const caller of callers.slice(0, 10)) {
    const bodies = await Promise.all(
      sides.map(async ({ server }) => {
        const answer = await fetch(`${server.url}${list(caller).path}`, { headers: bearer(caller.token) })
        return answer.text()
      }),
    )
    const different = sides.find((_, i) => bodies[i] !== bodies[0])
    if (different) throw new Error(`${different.name} answers otherwise: ${bodies.join('\n')}`)
  }
}

/** The first round warms all of them up, and does not count. Each round begins with another side. */
async function loadInTurn(sides: readonly Side[], callers: readonly Caller[]): Promise<void> {
  for (const { server } of sides) await load(server.url, list, callers, { seconds: 1 })
  for (let round = 0; round < ROUNDS; round++) {
    for (const side of [...sides.slice(round), ...sides.slice(0, round)])
      side.loads.push(await load(side.server.url, list, callers, { seconds: SECONDS }))
  }
  for (const side of sides) {
    side.alone = (await load(side.server.url, list, callers, { seconds: 1, connections: 1 })).p50
    const rates = side.loads.map(({ rate }) => rate.toFixed(0))
    print(`${side.name}: ${rates.join(', ')} requests/s, alone ${side.alone.toFixed(1)} ms`)
  }
}
