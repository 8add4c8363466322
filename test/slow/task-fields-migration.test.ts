import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import { connect } from '../../src/database/index.ts'
import { migrate, readinessOf } from '../../src/migrations/index.ts'
import { build, identity } from '../helper/app.ts'
import { migratedUrl } from '../helper/database.ts'

const skip = !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'

const BEFORE = `
  alter table tasks drop column priority, drop column due_at, drop column tags;
  drop type task_priority;
  delete from kysely_migration where name = '0005_task_fields'`

// The statements of the release before these fields, prepared as they were there.
const COLUMNS = 'id, user_id, title, description, completed, created_at, updated_at'
const OLDER = {
  create: `insert into tasks (title, description, completed, user_id) values ($1, $2, $3, $4) returning ${COLUMNS}, version`,
  list: `select ${COLUMNS} from tasks where user_id = $1 and id < $2 order by id desc limit $3 offset $4`,
  change: `update tasks set title = coalesce($1, title), updated_at = now(), version = version + 1
    where user_id = $2 and id = $3 returning ${COLUMNS}, version`,
  remove: 'delete from tasks where user_id = $1 and id = $2 returning id',
}

t.test('an older and a newer release work while the fields of tasks are made', { skip }, async (t) => {
  const url = await migratedUrl()
  const client = async () => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    t.teardown(() => client.end())
    return client
  }
  const admin = await client()
  await admin.query(BEFORE)
  await admin.query(
    "insert into tasks (user_id, title) select 'u' || n % 100, n::text from generate_series(1, 20000) n",
  )
  const file = async () => (await admin.query("select pg_relation_filenode('tasks') as file")).rows[0].file
  const written = await file()

  const db = await connect({ url })
  t.teardown(() => db.close())
  const app = await build(t, { database: db })
  const { headers } = await identity()
  const isReady = readinessOf(db)
  await t.rejects(isReady(), { code: 'not_migrated' }, 'the newer one gets no requests yet')

  const run = { over: false }
  const failures: unknown[] = []
  const done = { older: 0, newer: 0 }
  let slowest = 0
  const repeat = async (release: keyof typeof done, work: () => Promise<unknown>) => {
    while (!run.over) {
      const start = performance.now()
      await work().catch((error) => failures.push(error))
      slowest = Math.max(slowest, performance.now() - start)
      done[release]++
    }
  }
  const older = async () => {
    const connection = await client()
    const send = (name: keyof typeof OLDER, values: unknown[]) =>
      connection.query({ name, text: OLDER[name], values })
    return repeat('older', async () => {
      await connection.query("set statement_timeout = '5s'")
      const { rows } = await send('create', ['x', null, false, 'older'])
      const { id } = rows[0]
      if (Object.keys(rows[0]).length !== 8) throw new Error('columns that were not asked for')
      await send('list', ['older', Number.MAX_SAFE_INTEGER, 20, 0])
      const changed = await send('change', ['y', 'older', id])
      const removed = await send('remove', ['older', id])
      if (changed.rowCount !== 1 || removed.rowCount !== 1) throw new Error('a row is lost')
    })
  }
  const newer = async () => {
    while (
      !run.over &&
      (await isReady().then(
        () => false,
        () => true,
      ))
    )
      await sleep(20)
    await repeat('newer', async () => {
      const payload = { title: 'x', priority: 'high', due_date: '2026-12-01', tags: ['home'] }
      const { statusCode, body } = await app.inject({ method: 'POST', url: '/todos', headers, payload })
      const list = await app.inject({ url: '/todos?sort=due_at&priority=high&limit=5', headers })
      if (statusCode !== 201 || list.statusCode !== 200) throw new Error(body + list.body)
    })
  }
  const running = Promise.all([older(), older(), newer()])

  // Somebody reads in a long transaction, as a dump or a report does.
  const reader = await client()
  await reader.query('begin; select count(*) from tasks')
  await sleep(200)
  const migrating = migrate(db)
  await sleep(1500)
  t.equal(done.newer, 0, 'the migration waits for the long transaction')
  const before = done.older
  await sleep(500)
  t.ok(done.older > before, 'and the older release goes on meanwhile')
  await reader.query('commit')
  t.same(await migrating, ['0005_task_fields'], 'then it is done')
  await sleep(1000)
  run.over = true
  await running

  t.same(failures, [], `0 failed of ${done.older} rounds of the older release and ${done.newer} of the newer`)
  t.ok(done.newer > 0, 'the newer one got requests, too')
  t.ok(slowest < 2_500, `none was held up for long: ${slowest.toFixed(0)} ms at most`)
  t.equal(await file(), written, 'no row was rewritten')
  const { rowCount } = await admin.query(
    "select from tasks where priority is null and due_at is null and tags = '{}' and user_id ~ '^u[0-9]+$'",
  )
  t.equal(rowCount, 20_000, 'those that were there have none of them')
})
