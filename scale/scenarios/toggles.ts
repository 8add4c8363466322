import { setTimeout as sleep } from 'node:timers/promises'
import { thousands } from '../../faults/clients.ts'
import type { Postgres } from '../../faults/postgres.ts'
import type { Scenario, Tools } from '../../faults/tools.ts'

const USERS = 1_000
const TASKS = 100
const TOGGLES = 300_000
const CLIENTS = 8

// The statement that src/tasks.ts sends, with the rights of the login.
const TOGGLE = `update tasks set completed = not completed, updated_at = now(), version = version + 1
  where user_id = $1 and id = $2`

interface Case {
  /** Storage parameters of the table. */
  storage?: string
  /** How many of the tasks are toggled. */
  tasks?: number
  /** A transaction that began before goes on, as a dump's does. */
  held?: true
}

const CASES: Record<string, Case> = {
  'as migrated': {},
  '1,000 of them': { tasks: 1_000 },
  '`fillfactor` 90': { storage: 'fillfactor = 90' },
  '`autovacuum_vacuum_scale_factor` 0.02': { storage: 'autovacuum_vacuum_scale_factor = 0.02' },
  'beside a transaction that stays open': { held: true },
  'beside it, with 0.02': { storage: 'autovacuum_vacuum_scale_factor = 0.02', held: true },
}

export default {
  name: 'toggles',
  what: `${thousands(TOGGLES)} toggles of ${thousands(USERS * TASKS)} tasks in turn by ${CLIENTS} connections; autovacuum looks every 5 s`,
  goal: 'as migrated: 90 % are HOT, the table grows by less than 20 %',
  async run(tools) {
    const figures: string[] = []
    let ok = false
    for (const [title, options] of Object.entries(CASES)) {
      const { before, after } = await toggle(tools, options)
      const hot = (after.hot - before.hot) / TOGGLES
      if (title === 'as migrated') ok = hot > 0.9 && after.heap < 1.2 * before.heap
      figures.push(
        `${title}: ${Math.round(hot * 100)} % HOT, table ${before.heap} → ${after.heap} MB, index ${before.index} → ${after.index} MB, ` +
          `${thousands(after.dead)} dead rows, vacuumed ${after.vacuums} times`,
      )
      process.stdout.write(`  ${figures.at(-1)}\n`)
    }
    return { figure: figures.join('; '), ok }
  },
} satisfies Scenario

async function toggle(
  tools: Tools,
  { storage, tasks = USERS * TASKS, held }: Case,
): Promise<{ before: State; after: State }> {
  const { url, server, name } = await tools.database()
  await server.query("alter system set autovacuum_naptime = '5s'")
  await server.query('select pg_reload_conf()')
  tools.teardown(() => server.query('alter system reset autovacuum_naptime'))
  if (storage) await server.query(`alter table tasks set (${storage})`, name)
  await tools.users(url, USERS, TASKS)
  await server.query('vacuum analyze tasks', name)
  const rows = await server.query<{ user_id: string; id: string }>(
    `select user_id, id from tasks order by md5(id::text) limit ${tasks}`,
    name,
  )
  const before = await state(server, name)

  const other = await server.connect(name)
  if (held) await other.query('begin isolation level repeatable read; select from tasks limit 1')
  const connections = await Promise.all(Array.from({ length: CLIENTS }, () => server.connect(name)))
  await Promise.all(
    connections.map(async (connection, client) => {
      await connection.query('set synchronous_commit = off')
      for (let i = client; i < TOGGLES; i += CLIENTS) {
        const { user_id, id } = rows[i % rows.length] as (typeof rows)[0]
        await connection.query({ name: 'toggle', text: TOGGLE, values: [user_id, id] })
      }
      await connection.end()
    }),
  )
  const after = await state(server, name)
  await other.end()
  return { before, after }
}

interface State {
  heap: number
  index: number
  dead: number
  hot: number
  vacuums: number
}

/** Sizes in megabytes, and what PostgreSQL has counted. */
async function state(server: Postgres, name: string): Promise<State> {
  await sleep(1500) // the counts come late
  const [row] = await server.query<Record<keyof State, string>>(
    `select round(pg_relation_size(relid) / 1e6, 1) as heap, round(pg_indexes_size(relid) / 1e6, 1) as index,
       n_dead_tup as dead, n_tup_hot_upd as hot, autovacuum_count as vacuums
     from pg_stat_user_tables where relname = 'tasks'`,
    name,
  )
  const { heap, index, dead, hot, vacuums } = row as Record<keyof State, string>
  return { heap: +heap, index: +index, dead: +dead, hot: +hot, vacuums: +vacuums }
}
