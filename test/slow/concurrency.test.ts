import { sql } from 'kysely'
import pg from 'pg'
import t from 'tap'
import type { Task } from '../../schemas/task.ts'
import { connect } from '../../src/database/index.ts'
import type { Given, Statement, UserScope } from '../../src/isolation/index.ts'
import { statement } from '../../src/tables.ts'
import { build, identity } from '../helper/app.ts'
import { migratedUrl, openDatabase } from '../helper/database.ts'
import { scopeOf } from '../helper/sql.ts'

const { TEST_DATABASE_URL } = process.env
const USERS = 50
const REQUESTS = TEST_DATABASE_URL ? 20_000 : 3_000
const AT_ONCE = 64

const failing: [what: string, code: string, statement: Statement<{ title: string }, unknown, 'owner'>][] = [
  [
    'a unique violation',
    '23505',
    statement(
      (mine, { title }: Given<{ title: string }>) =>
        sql`insert into tasks (user_id, id, title) overriding system value
          values (${mine.owner.user_id}, 1, ${title}), (${mine.owner.user_id}, 1, ${title})`,
    ),
  ],
  [
    'a check violation',
    '23514',
    statement((mine, { title }: Given<{ title: string }>) =>
      mine.insertInto('tasks', { title: sql`left(${title}::text, 0)` }),
    ),
  ],
  [
    'an error among the rows',
    '22012',
    statement(
      (_, { title }: Given<{ title: string }>) =>
        sql`select ${title}::text, 1 / (5 - n) from generate_series(1, 10) as n`,
    ),
  ],
  [
    'a statement time-out',
    '57014',
    statement(
      (_, { title }: Given<{ title: string }>) =>
        sql`select ${title}::text, count(*) from generate_series(1, 1000000000)`,
    ),
  ],
]

t.test(`${USERS} users at once on few connections, with failures in between`, async (t) => {
  const url = await migratedUrl()
  const db = await connect({ url, poolMax: 3, statementTimeout: 300, applicationName: 'taskward' })
  t.teardown(() => db.close())
  const app = await build(t, { database: db })
  const users = await Promise.all(Array.from({ length: USERS }, () => identity()))
  const scopes = new Map<string, UserScope>()
  for (const { id } of users) scopes.set(id, await scopeOf(db, id))
  const owned = new Map(users.map(({ id }) => [id, new Set<number>()]))
  let foreign = 0
  let unexpected = 0
  let failures = 0
  const codes = new Set<string>()

  const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T

  async function request(): Promise<void> {
    const { id, headers } = pick(users)
    const mine = owned.get(id) as Set<number>
    const action = Math.random()
    if (action < 0.005) return fail(id)
    const task = pick([...mine])
    const response =
      action < 0.3 || task === undefined
        ? await app.inject({ method: 'POST', url: '/todos', headers, payload: { title: id } })
        : action < 0.7
          ? await app.inject({ url: '/todos?limit=20', headers })
          : action < 0.9
            ? await app.inject({ url: `/todos/${task}`, headers })
            : await app.inject({ method: 'PATCH', url: `/todos/${task}/toggle`, headers })
    if (response.statusCode === 503) return void codes.add('503')
    if (response.statusCode >= 400) unexpected += 1
    for (const row of [response.json<Task | Task[]>()].flat()) {
      if (row.user_id !== id || row.title !== id) foreign += 1
      if (response.statusCode === 201) mine.add(row.id)
    }
  }

  async function fail(id: string): Promise<void> {
    // PGlite runs in this process: it cannot be timed out.
    const kinds = db.embedded ? failing.slice(0, 3) : failing
    const [, code, statement] = kinds[failures++ % kinds.length] as (typeof failing)[number]
    await (scopes.get(id) as UserScope).all(statement, { title: id }).then(
      () => (unexpected += 1),
      (error) => codes.add(error.code === code ? code : (error.code ?? error.message)),
    )
  }

  let left = REQUESTS
  const killer = TEST_DATABASE_URL ? await killBackends(url, () => left > 0) : undefined
  const worker = async () => {
    while (left-- > 0) await request()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  const killed = await killer?.()

  t.equal(foreign, 0, 'no row of another user in any answer')
  t.equal(unexpected, 0, 'no other failure')
  t.comment(
    `${REQUESTS} requests, ${killed ?? 0} backends killed; seen in between: ${[...codes].toSorted().join(', ')}`,
  )
  for (const [what, code] of db.embedded ? failing.slice(0, 3) : failing) t.ok(codes.has(code), what)
  if (killed !== undefined) t.ok(killed > 0, 'connections were killed')

  for (const { id, headers } of users) {
    const { total } = (await app.inject({ url: '/todos/stats', headers })).json()
    // A commit whose answer was lost with its connection may have made one more than was told.
    t.ok(total >= (owned.get(id)?.size ?? 0), 'every row that was acknowledged is there')
  }
})

t.test('/ready answers while every connection is busy', async (t) => {
  const db = await openDatabase(t, { poolMax: 2 })
  const app = await build(t, { database: db })
  const users = await Promise.all(Array.from({ length: 300 }, () => identity()))
  t.equal((await app.inject('/ready')).statusCode, 200, '/ready is 200 while idle')
  const busy = users.map(({ headers }) => app.inject({ url: '/todos', headers }))
  t.equal((await app.inject('/ready')).statusCode, 200, '/ready is 200 while busy')
  for (const { statusCode } of await Promise.all(busy)) t.equal(statusCode, 200, 'the others are answered')
})

/** Kills a connection of the service now and then. Returns what stops it, and tells how many it was. */
async function killBackends(url: string, goesOn: () => boolean): Promise<() => Promise<number>> {
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  let killed = 0
  const kill = async () => {
    while (goesOn()) {
      await new Promise((resolve) => setTimeout(resolve, 300))
      const { rowCount } = await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'taskward' order by random() limit 1`,
      )
      killed += rowCount ?? 0
    }
  }
  const done = kill()
  return async () => {
    await done
    await admin.end()
    return killed
  }
}
