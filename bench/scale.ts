import { writeFileSync } from 'node:fs'
import pg from 'pg'
import { type Chart, drawCharts, type Point } from './chart.ts'
import { at, type Caller, CONNECTIONS, load, scenarios } from './load.ts'
import { callersOf, seed } from './seed.ts'
import { type Server, start, TASKWARD } from './servers.ts'
import { median, print, type Setup, withSetup } from './setup.ts'

const CHART = 'docs/scale.svg'
const TASKS = [1, 100, 10_000, 1_000_000]
const USERS = [10, 1000, 100_000]
const TASKS_PER_USER = 10
const CLIENTS = [1, 8, 64, 512]
const ROUNDS = 3
const SECONDS = 2
const PAGE = 20

interface Case {
  label: string
  path: string
  callers: readonly Caller[]
  connections?: number
}

const number = (value: number): string => value.toLocaleString('en')

/** Measures what a list costs as work grows, in requests a second, and draws it: docs/scale.svg. */
export const scale = (address: string): Promise<void> => withSetup(address, measure)

async function measure({ url, issuer, env, logFile, machine }: Setup): Promise<void> {
  /** Users with their tokens and tasks. */
  async function callers(users: number, tasks: number): Promise<Caller[]> {
    print(`making ${number(tasks)} tasks for ${number(users)} users`)
    const owned = await seed(url, { users, tasks, prefix: `${users}-with-${tasks}` })
    return callersOf(owned, (sub) => issuer.sign('HS256', sub))
  }
  const owners = await inTurn(TASKS, (tasks) => callers(1, tasks))
  const crowds = await inTurn(USERS, (users) => callers(users, TASKS_PER_USER))
  await vacuum(url)

  const server = await start(TASKWARD, env, logFile)
  try {
    const list = `/todos?limit=${PAGE}`
    const [richest] = owners.at(-1) as [Caller]
    const far = 999 * PAGE
    const pages: Case[] = [
      { label: 'page 1', path: list, callers: [richest] },
      { label: '1,000 by skip', path: `${list}&skip=${far}`, callers: [richest] },
      {
        label: '1,000 by cursor',
        path: await nextPage(server, `${list}&skip=${far - PAGE}`, richest),
        callers: [richest],
      },
    ]
    const charts: { title: string; cases: Case[] }[] = [
      {
        title: 'Tasks of the user',
        cases: TASKS.map((tasks, i) => ({ label: number(tasks), path: list, callers: owners[i] ?? [] })),
      },
      {
        title: `Users, with ${TASKS_PER_USER} tasks each`,
        cases: USERS.map((users, i) => ({ label: number(users), path: list, callers: crowds[i] ?? [] })),
      },
      { title: 'Page of a million tasks', cases: pages },
      {
        title: 'Connections',
        cases: CLIENTS.map((connections) => ({
          label: number(connections),
          path: list,
          callers: crowds[1] ?? [],
          connections,
        })),
      },
    ]
    await load(server.url, scenarios.list, crowds[1] ?? [], { seconds: 5 }) // warm-up
    const drawn: Chart[] = []
    for (const { title, cases } of charts) {
      const points = await measureCases(server, cases)
      print(`${title}: ${points.map(({ label, value }) => `${label} → ${number(value)}/s`).join(', ')}`)
      drawn.push({ title, points })
    }
    const caption = `Requests/s for a list of ${PAGE} tasks, ${CONNECTIONS} connections unless said. ${machine}`
    writeFileSync(CHART, drawCharts(drawn, caption))
    print(`Drawn: ${CHART}`)
  } finally {
    await server.stop()
  }
}

/** Runs all cases of a chart in turn, several times, so that a temporary slowdown affects each of them. */
async function measureCases({ url }: Server, cases: readonly Case[]): Promise<Point[]> {
  const rates: number[][] = cases.map(() => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, { path, callers, connections = CONNECTIONS }] of cases.entries()) {
      const { rate } = await load(url, at(path), callers, { seconds: SECONDS, connections })
      rates[i]?.push(rate)
    }
  }
  return cases.map(({ label }, i) => ({ label, value: Math.round(median(rates[i] ?? [])) }))
}

async function nextPage({ url }: Server, path: string, { token }: Caller): Promise<string> {
  const { headers } = await fetch(url + path, { headers: { authorization: `Bearer ${token}` } })
  const [, next] = /<([^>]+)>; rel="next"/.exec(headers.get('link') ?? '') ?? []
  if (!next) throw new Error(`${path} has no next page`)
  return next
}

async function inTurn<In, Out>(list: readonly In[], fn: (item: In) => Promise<Out>): Promise<Out[]> {
  const results: Out[] = []
  for (const item of list) results.push(await fn(item))
  return results
}

/** As autovacuum would do over time. */
async function vacuum(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('vacuum analyze tasks')
  await client.end()
}
