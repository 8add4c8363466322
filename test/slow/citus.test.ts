import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import pg from 'pg'
import tap from 'tap'
import { type Kysely, sql } from 'kysely'
import { Missing, until } from '../../faults/processes.ts'
import { CitusCluster, createDistributed, requireCitus } from '../../scale/citus.ts'
import { connect, type Database } from '../../src/database/index.ts'
import { diagnose, migrate } from '../../src/migrations/index.ts'
import { protect } from '../../src/tables.ts'
import { Tasks } from '../../src/tasks.ts'
import { PASSWORD, post, signIn, signUp } from '../helper/accounts.ts'
import { build, identity } from '../helper/app.ts'
import { scopeOf } from '../helper/sql.ts'
import { allStatements, variantsOf } from '../helper/statements.ts'
import { HOSTILE_IDS } from '../isolation/hostile-ids.ts'

// The walls on Citus: a coordinator and two workers of the test's own. The tests that run everywhere run on it as well.

const ALSO = [
  'accounts/index.ts',
  'tasks/index.ts',
  'isolation/database.test.ts',
  'isolation/quote.test.ts',
  'isolation/two-users.test.ts',
  'slow/concurrency.test.ts',
  'slow/erasure-in-parts.test.ts',
  'slow/lost-updates.test.ts',
  'slow/mutants.test.ts',
  'slow/routes.test.ts',
  'slow/wire.test.ts',
].map((file) => join(import.meta.dirname, '..', file))

const skip = whyNot()

function whyNot(): string | false {
  try {
    requireCitus()
    return process.env.TEST_CITUS ? 'runs on a cluster of its own' : false
  } catch (error) {
    if (error instanceof Missing) return error.message
    throw error
  }
}

tap.setTimeout(3_600_000)

tap.test('on Citus', { skip }, async (t) => {
  const cluster = await CitusCluster.start(2, { fsync: 'off' })
  t.teardown(() => cluster.remove())
  await createDistributed(cluster.urls(), 'walls')
  const db = await connect({ url: cluster.coordinator.url('walls') })
  t.teardown(() => db.close())

  await t.test(
    'migrate spreads the owned tables, together, and leaves the others where they are',
    async (t) => {
      t.ok((await migrate(db)).length > 0)
      t.same(await tables(db), [
        { name: 'idempotency_keys', by: 'user_id', groups: 1 },
        { name: 'tasks', by: 'user_id', groups: 1 },
      ])
      t.same(await migrate(db), [], 'and is done once')
      t.same(await diagnose(db), [], 'nothing is wrong, on the workers either')
    },
  )

  await t.test('a database that was used before goes over to Citus with its rows', async (t) => {
    await createDistributed(cluster.urls(), 'later')
    const url = cluster.coordinator.url('later')
    const admin = await connect({ url })
    t.teardown(() => admin.close())
    await admin.asLogin((login) => sql`drop extension citus`.execute(login))
    await migrate(admin)
    t.same(await create(admin, 'ada', 'before'), { id: 1, title: 'before' })
    await admin.asLogin((login) => sql`create extension citus`.execute(login))
    await cluster.coordinator.query(
      `select citus_set_coordinator_host('127.0.0.1', ${cluster.coordinator.port}), ` +
        cluster.workers.map(({ port }) => `citus_add_node('127.0.0.1', ${port})`).join(', '),
      'later',
    )
    await migrate(admin)
    const after = await connect({ url })
    t.teardown(() => after.close())
    t.same(await create(after, 'ada', 'after'), { id: 2, title: 'after' }, 'ids go on')
    t.same(await titles(after, 'ada'), ['after', 'before'])
    t.equal((await tables(after)).length, 2)
    const { rows } = await after.asLogin((login) =>
      sql<{ size: string }>`select pg_relation_size('tasks') as size`.execute(login),
    )
    t.equal(Number(rows[0]?.size), 0, 'no copy is left behind')
  })

  await t.test('a table of a later migration is spread as well, and may refer to tasks', async (t) => {
    await rolledBack(db, async (trx) => {
      await sql`create table notes (user_id text collate "C" not null, id bigint generated always as identity,
        task_id bigint, primary key (user_id, id))`.execute(trx)
      await protect(trx, 'notes')
      await sql`alter table notes add foreign key (user_id, task_id) references tasks`.execute(trx)
      const { rows } =
        await sql`select from pg_dist_partition where logicalrelid = 'notes'::regclass`.execute(trx)
      t.equal(rows.length, 1)
    })
  })

  await t.test('every user has their own tasks, whatever their id', async (t) => {
    const app = await build(t, { database: db })
    for (const id of HOSTILE_IDS) {
      const { headers } = await identity(id)
      const made = await app.inject({
        method: 'POST',
        url: '/todos',
        headers,
        payload: { title: of(id) },
      })
      t.match(made.json(), { user_id: id, title: of(id) }, id)
    }
    for (const id of HOSTILE_IDS) {
      const { headers } = await identity(id)
      const { body } = await app.inject({ url: '/todos', headers })
      t.same(
        JSON.parse(body).map(({ title }: { title: string }) => title),
        [of(id)],
        id,
      )
    }
  })

  await t.test('every statement goes to one shard', async (t) => {
    const scope = await scopeOf(db, 'ada')
    const client = await cluster.coordinator.connect('walls')
    t.teardown(() => client.end())
    const given = allStatements().flatMap((statement) =>
      variantsOf(statement).map(([, values]) => scope.bind(statement, values)),
    )
    for (const { sql: text, parameters } of given) {
      const { rows } = await client.query(`explain (format json) ${text}`, [...parameters])
      const plan = rows[0]['QUERY PLAN']
      const name = text.slice(0, 60)
      // The shard of the rows that the coordinator makes is known only when they are there.
      if (JSON.stringify(plan).includes('pull to coordinator')) {
        const shards = await shardsWritten(client, text, [...parameters])
        const written = new Set([...shards].map((shard) => shard.replace(/_\d+$/, '')))
        t.ok(written.size > 0 && shards.size === written.size, `one of each table, ${[...shards]}: ${name}`)
        continue
      }
      const counts = taskCounts(plan)
      t.ok(counts.length > 0 && counts.every((count) => count === 1), `${counts.join(', ')}: ${name}`)
    }
  })

  await t.test('ids count up over all users, and newest first is by them', async (t) => {
    const made: number[] = []
    for (let i = 0; i < 40; i++) made.push((await create(db, `counting-${i % 7}`, String(i))).id)
    t.same(
      made,
      made.toSorted((a, b) => a - b),
    )
    t.ok(made.every(Number.isSafeInteger))
    t.same(await titles(db, 'counting-0'), ['35', '28', '21', '14', '7', '0'])
    for (const worker of cluster.workers) {
      const [range] = await worker.query<{ max: string }>(
        "select max_value as max from pg_sequences where sequencename = 'tasks_id_seq'",
        'walls',
      )
      t.ok(Number(range?.max) <= Number.MAX_SAFE_INTEGER, 'a worker would give out safe ones as well')
    }
  })

  await t.test('on each worker, each shard shows the role no row but those of the setting', async (t) => {
    let shown = 0
    for (const [i, worker] of cluster.workers.entries()) {
      const shards = await shardsOn(db, worker.port)
      t.ok(shards.length > 0, `worker ${i} has ${shards.length} shards`)
      const url = new URL(worker.url('walls'))
      url.username = 'taskward_user'
      const client = new pg.Client({ connectionString: url.href })
      await client.connect()
      t.teardown(() => client.end())
      const admin = await worker.connect('walls')
      t.teardown(() => admin.end())
      await t.rejects(client.query('set role postgres'), { code: '42501' }, 'there is no way up')
      for (const shard of shards) {
        const { rows: owners } = await admin.query(`select distinct user_id from ${shard}`)
        await client.query('reset app.user_id')
        t.same(
          (await client.query(`select * from ${shard}`)).rows,
          [],
          `${shard}: nothing without the setting`,
        )
        for (const { user_id } of owners) {
          await client.query("select set_config('app.user_id', $1, false)", [user_id])
          const { rows } = await client.query(`select distinct user_id from ${shard}`)
          t.same(rows, [{ user_id }], `${shard}: the rows of ${user_id}`)
          shown += 1
        }
        await t.rejects(
          client.query(`insert into ${shard} (user_id, id, title) values ('somebody', 1, 'x')`),
          { code: '42501' },
          `${shard}: no row for another`,
        )
      }
    }
    t.ok(shown >= HOSTILE_IDS.length, `${shown} users had rows`)
  })

  await t.test('a statement that is bound to nobody brings nothing back from the workers', async (t) => {
    const client = await cluster.coordinator.connect('walls')
    t.teardown(() => client.end())
    const asAda = async (text: string) => {
      await client.query('begin')
      await client.query("set local citus.propagate_set_commands = 'local'")
      await client.query("set local app.user_id = 'counting-1'")
      await client.query('set local role taskward_user')
      return client.query(text).finally(() => client.query('rollback'))
    }
    const { rows } = await asAda('select distinct user_id from tasks')
    t.same(rows, [{ user_id: 'counting-1' }], 'over all shards')
    t.equal((await asAda("update tasks set title = 'hers'")).rowCount, 6, 'changes her own rows alone')
    t.equal((await asAda('delete from tasks')).rowCount, 6)
    const refused = asAda("insert into tasks (user_id, title) values ('counting-2', 'x')")
    await t.rejects(refused, { code: '42501', message: /tasks_\d+/ }, 'it is a shard that refuses the row')
  })

  await t.test('what waits on a worker is cancelled', async (t) => {
    const { id } = await create(db, 'waiting', 'x')
    const holder = await cluster.coordinator.connect('walls')
    t.teardown(() => holder.end())
    await holder.query('begin')
    await holder.query("update tasks set title = 'held' where user_id = 'waiting'")
    const hasty = await connect({ url: cluster.coordinator.url('walls'), statementTimeout: 300 })
    t.teardown(() => hasty.close())
    const tasks = new Tasks(await scopeOf(hasty, 'waiting'))
    const start = performance.now()
    await t.rejects(tasks.change(id, { title: 'y' }), { code: '57014' })
    t.ok(performance.now() - start < 3000)
    await holder.query('rollback')
    await tasks.change(id, { title: 'z' })
    t.same(await titles(hasty, 'waiting'), ['z'], 'nothing is left of it')
  })

  await t.test('what is wrong with one shard is found', async (t) => {
    const [worker] = cluster.workers
    const [shard] = await shardsOn(db, worker?.port ?? 0)
    const breaks: [what: string, breaking: string, mending: string, found: RegExp][] = [
      [
        'no policy',
        `drop policy own_rows on ${shard}`,
        `create policy own_rows on ${shard} using (user_id = current_setting('app.user_id', true))
          with check (user_id = current_setting('app.user_id', true))`,
        /has no policy own_rows/,
      ],
      [
        'one policy more',
        `create policy more on ${shard} using (true)`,
        `drop policy more on ${shard}`,
        /Policy more on tasks_\d+ is not declared/,
      ],
      [
        'policies switched off',
        `alter table ${shard} disable row level security`,
        `alter table ${shard} enable row level security`,
        /not enabled and forced/,
      ],
      [
        'a right is missing',
        `revoke select on ${shard} from taskward_user`,
        `grant select on ${shard} to taskward_user`,
        /taskward_user may not select/,
      ],
      [
        'the role may not log in',
        'alter role taskward_user nologin',
        'alter role taskward_user login',
        /may not log in/,
      ],
      [
        'the role bypasses policies',
        'alter role taskward_user bypassrls',
        'alter role taskward_user nobypassrls',
        /bypasses row-level security/,
      ],
    ]
    const onWorker = async (text: string) => {
      const client = await worker?.connect('walls')
      await client?.query('set citus.enable_manual_changes_to_shards = on')
      await client?.query('set citus.enable_ddl_propagation = off')
      await client?.query(text)
      await client?.end()
    }
    for (const [what, breaking, mending, found] of breaks) {
      await onWorker(breaking)
      const faults = await diagnose(db)
      if (breaking.endsWith('nologin')) t.match(faults.join(' '), /refuses the role/, 'and tried')
      t.match(faults.join(' '), found, what)
      t.match(faults.join(' '), `On 127.0.0.1:${worker?.port}: `, 'with its place')
      await onWorker(mending)
    }
    t.same(await diagnose(db), [], 'and mended, all is well')
  })

  await t.test('an erasure in which the coordinator fails can be repeated', async (t) => {
    const app = await build(t, { database: db })
    const ada = await signUp(app)
    await create(db, ada.user.id, 'x')
    const [place] = await cluster.coordinator.query<{ port: number; shard: string }>(
      `select nodeport as port, shard_name as shard from citus_shards where table_name = 'tasks'::regclass
        and shardid = get_shard_id_for_distribution_column('tasks', $1::text)`,
      'walls',
      [ada.user.id],
    )
    const worker = cluster.workers.find(({ port }) => port === place?.port)
    const client = await worker?.connect('walls')
    t.teardown(() => client?.end())
    // The worker takes a second to commit, and the coordinator does not live to see it.
    await client?.query(`set citus.enable_manual_changes_to_shards = on; set citus.enable_ddl_propagation = off;
      create function late() returns trigger language plpgsql as 'begin perform pg_sleep(1); return null; end';
      create constraint trigger late after delete on ${place?.shard} deferrable initially deferred
        for each row execute function late()`)
    const erase = () =>
      app.inject({ method: 'DELETE', url: '/me', headers: ada.headers, payload: { password: PASSWORD } })
    const failed = erase()
    await until('the worker commits', async () => {
      const rows = await worker?.query("select from pg_stat_activity where wait_event = 'PgSleep'", 'walls')
      return rows?.length
    })
    await cluster.coordinator.kill()
    t.match((await failed).json(), { status: 503, code: 'database_unavailable' })
    const stored = `select from ${place?.shard} where user_id = '${ada.user.id}'`
    await until('the tasks are gone', async () => (await client?.query(stored))?.rowCount === 0)
    await cluster.coordinator.start()
    await client?.query(`drop trigger late on ${place?.shard}; drop function late`)
    t.ok((await signIn(app, ada)).token, 'the account is still there')
    t.equal((await erase()).statusCode, 200)
    t.equal(
      (await post(app, 'signin', { email: ada.email, password: PASSWORD })).statusCode,
      401,
      'and then it is not',
    )
  })

  await t.test('a worker that is down takes its own users with it, and no others', async (t) => {
    const app = await build(t, { database: db })
    const [worker] = cluster.workers
    const { rows } = await db.asLogin((login) =>
      sql<{ id: string; down: boolean }>`
        select id, nodeport = ${worker?.port} as down from unnest(${HOSTILE_IDS}::text[]) as id
        join citus_shards on shardid = get_shard_id_for_distribution_column('tasks', id)`.execute(login),
    )
    t.ok(rows.some(({ down }) => down) && rows.some(({ down }) => !down), 'there are users on both')
    await worker?.kill()
    for (const { id, down } of rows) {
      const { statusCode } = await app.inject({ url: '/todos', headers: (await identity(id)).headers })
      t.equal(statusCode, down ? 503 : 200, id)
    }
    t.equal((await app.inject('/ready')).statusCode, 200, 'it is ready for the others')
    t.match((await diagnose(db)).join(' '), `127.0.0.1:${worker?.port} could not be asked`)
    await worker?.start()
    for (const { id } of rows) {
      const { statusCode } = await app.inject({ url: '/todos', headers: (await identity(id)).headers })
      t.equal(statusCode, 200, `again: ${id}`)
    }
  })
})

tap.test('the files that run on Citus as well are there', async (t) => {
  for (const file of ALSO) t.ok(existsSync(file), file)
})

for (const file of ALSO) {
  const name = relative(join(import.meta.dirname, '..'), file)
  tap.test(`${name} passes on Citus`, { skip }, async (t) => {
    const cluster = await CitusCluster.start(2, { fsync: 'off' })
    t.teardown(() => cluster.remove())
    const env = {
      ...process.env,
      TEST_CITUS: cluster.urls().join(','),
      TEST_DATABASE_URL: cluster.coordinator.url('postgres'),
    }
    await t.spawn(process.execPath, ['--liftoff-only', file], { env, timeout: 1_200_000 }, name)
  })
}

async function tables(db: Database) {
  const { rows } = await db.asLogin((login) =>
    sql`select table_name::text as name, distribution_column as by,
        (select count(distinct colocation_id)::int from citus_tables) as groups
      from citus_tables order by name`.execute(login),
  )
  return rows
}

async function shardsOn(db: Database, port: number): Promise<string[]> {
  const { rows } = await db.asLogin((login) =>
    sql<{ name: string }>`select shard_name as name from citus_shards
      where table_name = 'tasks'::regclass and nodeport = ${port} order by name`.execute(login),
  )
  return rows.map(({ name }) => name)
}

async function create(db: Database, user: string, title: string) {
  const { id, title: stored } = await new Tasks(await scopeOf(db, user)).create({ title })
  return { id, title: stored }
}

async function titles(db: Database, user: string): Promise<string[]> {
  const { tasks } = await new Tasks(await scopeOf(db, user)).list({ skip: 0, limit: 100 })
  return tasks.map(({ title }) => title)
}

const of = (id: string) => `of ${id}`.slice(0, 255)

/** Every `Task Count` of a plan. */
function taskCounts(plan: unknown): number[] {
  if (typeof plan !== 'object' || plan === null) return []
  return Object.entries(plan).flatMap(([name, value]) =>
    name === 'Task Count' ? [Number(value)] : taskCounts(value),
  )
}

/** Runs a statement, without its effect; returns the shards that its rows went to. */
async function shardsWritten(client: pg.Client, text: string, parameters: unknown[]): Promise<Set<string>> {
  const shards = new Set<string>()
  const read = ({ message = '' }: { message?: string }) => {
    const [, shard] = /^issuing insert into public\.(\w+)/i.exec(message) ?? []
    if (shard) shards.add(shard)
  }
  client.on('notice', read)
  await client.query('begin')
  await client.query("set local citus.log_remote_commands = on; set local client_min_messages = 'log'")
  await client.query(text, parameters).finally(() => client.query('rollback'))
  client.off('notice', read)
  return shards
}

async function rolledBack(db: Database, use: (trx: Kysely<never>) => Promise<void>): Promise<void> {
  await db.asLogin(async (login) => {
    const trx = await login.startTransaction().execute()
    await use(trx).finally(() => trx.rollback().execute())
  })
}
