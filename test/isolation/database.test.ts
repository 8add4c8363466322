import { sql } from 'kysely'
import pg from 'pg'
import t from 'tap'
import { connect, type Database } from '../../src/database/index.ts'
import { diagnose, migrate, readinessOf } from '../../src/migrations/index.ts'
import { isolation } from '../../src/tables.ts'
import { Tasks } from '../../src/tasks.ts'
import { build, identity } from '../helper/app.ts'
import { database, databaseUrl, openDatabase } from '../helper/database.ts'
import { asRole, failing, scopeOf } from '../helper/sql.ts'
import { CITUS } from '../helper/template.ts'

const TEST_DATABASE_URL = process.env.TEST_DATABASE_URL

/** Runs raw SQL as a user. */
const as = (db: Database, user: string, sql: string, ...parameters: unknown[]) =>
  asRole(db, { user }, sql, ...parameters)

t.test('raw SQL in a scope sees and takes only rows of its user', async (t) => {
  const db = await database()
  const [ada, bob] = [(await identity()).id, (await identity()).id]
  await as(db, ada, "insert into tasks (user_id, title) values ($1, 'hers')", ada)

  t.same(await as(db, bob, 'select * from tasks'), [], 'Bob sees no row')
  t.same(
    await as(db, bob, 'select count(*) as n from tasks where user_id = $1', ada),
    [{ n: '0' }],
    'Bob counts no row',
  )
  t.same(await as(db, bob, "update tasks set title = 'his' returning id"), [], 'Bob changes no row')
  t.same(await as(db, bob, 'delete from tasks returning id'), [], 'Bob deletes no row')
  await t.rejects(
    as(db, bob, "insert into tasks (user_id, title) values ($1, 'for her')", ada),
    {
      code: '42501',
    },
    'Bob cannot write a row of hers',
  )
  await as(db, bob, "insert into tasks (user_id, title) values ($1, 'his')", bob)
  await t.rejects(
    as(db, bob, 'update tasks set user_id = $1', ada),
    { code: CITUS ? '0A000' : '42501' },
    'cannot give a row away',
  )
  t.match(await as(db, ada, 'select title from tasks'), [{ title: 'hers' }], 'her row is as it was')
})

t.test('the role of a scope has no other right, and no way out but the settings', async (t) => {
  const db = await database()
  await t.rejects(as(db, 'somebody', 'truncate tasks'), { code: '42501' }, 'no truncate')
  await t.rejects(as(db, 'somebody', 'drop table tasks'), { code: '42501' }, 'no drop')
  await t.rejects(
    as(db, 'somebody', 'alter table tasks disable row level security'),
    { code: '42501' },
    'no way to turn row-level security off',
  )
  await t.rejects(as(db, 'somebody', 'create table mine (id int)'), { code: '42501' }, 'no create')
  for (const table of ['kysely_migration', 'accounts', 'refresh_tokens']) {
    await t.rejects(as(db, 'somebody', `select * from ${table}`), { code: '42501' }, `nothing of ${table}`)
  }
})

t.test('the role of the tables that belong to nobody cannot see those of users', async (t) => {
  const db = await database()
  const role = 'taskward_service'
  t.same(await asRole(db, { role }, 'select id from accounts where false'), [], 'it reads its own tables')
  await t.rejects(asRole(db, { role }, 'select * from tasks'), { code: '42501' }, 'it does not read tasks')
})

t.test('no function in the schema of the login stands in for PostgreSQL’s', async (t) => {
  const db = await openDatabase(t)
  const shadow = (name: string, types: string) =>
    db.asLogin((login) =>
      sql`create function ${sql.raw(`${name}(${types})`)} returns text language plpgsql
        as 'begin raise exception ''stood in''; end'`.execute(login),
    )
  // What fits better than a function of PostgreSQL, or as well as one, is what PostgreSQL takes.
  for (const count of [2, 3, 4, 5, 6]) await shadow('concat_ws', Array(count).fill('text').join())
  await shadow('quote_ident', 'name')
  const ada = new Tasks(await scopeOf(db, 'ada'))
  const { id } = await ada.create({ title: 'hers' })
  t.match(await ada.find(id), { title: 'hers' })
  await t.resolves(
    db.check((_login, run) => run(isolation.probes)),
    'nor where settings are read again',
  )
})

t.test(
  'a schema may be renamed under open connections',
  { skip: !TEST_DATABASE_URL || CITUS !== undefined },
  async (t) => {
    const db = await openDatabase(t)
    const asLogin = (text: string) => db.asLogin((login) => sql.raw(text).execute(login))
    await asLogin(`do $$ begin
    execute format('alter database %I set search_path = app, public', current_database());
  end $$`)
    const ada = new Tasks(await scopeOf(db, 'ada'))
    const { id } = await ada.create({ title: 'hers' })
    await asLogin('alter schema public rename to app')
    t.match(await ada.find(id), { title: 'hers' })
  },
)

t.test('a scope leaves nothing behind on its connection', async (t) => {
  const db = await openDatabase(t, { poolMax: 1 })
  const [ada, bob] = [await scopeOf(db, 'ada'), await scopeOf(db, 'bob')]
  const tasks = { ada: new Tasks(ada), bob: new Tasks(bob) }
  await tasks.ada.create({ title: 'hers' })
  await t.rejects(db.run([failing(db)]), { code: '22012' }, 'a statement that fails')
  t.same((await tasks.bob.list({ skip: 0, limit: 10 })).tasks, [], 'the next user sees no row of hers')
  t.equal((await tasks.ada.list({ skip: 0, limit: 10 })).tasks.length, 1, 'and she does')
  t.same(await as(db, '', 'select * from tasks'), [], 'no user, no rows')
})

t.test('DATABASE_RLS=off is told', async (t) => {
  const lines: string[] = []
  const db = await openDatabase(t, { rls: false })
  const app = await build(t, { database: db, onLog: (line) => lines.push(line) })
  t.match(
    (await app.inject('/ready')).json(),
    { status: 'ready', row_level_security: 'off' },
    '/ready says so',
  )
  t.ok(
    lines.some((line) => line.includes('DATABASE_RLS=off') && line.includes('"level":"warn"')),
    'the log warns',
  )
  t.same(await diagnose(db), [], 'doctor finds no fault')
  const { headers } = await identity()
  t.equal(
    (await app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } })).statusCode,
    201,
    'the service works',
  )
})

t.test('a login without rights', { skip: !TEST_DATABASE_URL && 'needs TEST_DATABASE_URL' }, async (t) => {
  const url = new URL(await databaseUrl())
  const admin = new pg.Client({ connectionString: url.href })
  await admin.connect()
  const login = `plain_${process.pid}`
  await admin.query(
    `create role ${login} login password 'x'; grant create, usage on schema public to ${login}`,
  )
  t.teardown(async () => {
    await admin.query(`drop owned by ${login} cascade; drop role ${login}`)
    await admin.end()
  })
  url.username = login
  url.password = 'x'

  await t.test('is told the grants it lacks, by migrate, doctor and /ready', async (t) => {
    const db = await connect({ url: url.href })
    t.teardown(() => db.close())
    await t.rejects(
      migrate(db),
      { name: 'MissingGrantError', message: `grant taskward_user to ${login};` },
      'migrate names the grant it lacks first',
    )
    t.match(
      await diagnose(db),
      [
        'grant select, insert, update, delete on accounts to taskward_service;',
        'grant select, insert, update, delete on idempotency_keys to taskward_user;',
        'grant select, insert, update, delete on refresh_tokens to taskward_service;',
        'grant select, insert, update, delete on tasks to taskward_user;',
        `grant taskward_service to ${login};`,
        `grant taskward_user to ${login};`,
      ],
      'doctor names all of them',
    )
    await t.rejects(
      readinessOf(db)(),
      { statusCode: 503, code: 'role_missing' },
      '/ready says that the roles are missing',
    )

    await admin.query(`grant taskward_user, taskward_service to ${login}`)
    await migrate(db)
    t.same(await diagnose(db), [], 'with the grants doctor finds nothing')
    await readinessOf(db)()
    await admin.query('alter table tasks no force row level security')
    t.match(
      await diagnose(db),
      ['Row-level security is not enabled and forced on tasks.'],
      'doctor sees a table that is not protected',
    )
    await admin.query('alter table tasks force row level security')
  })

  await t.test('is held by the policies even without the role', async (t) => {
    const db = await connect({ url: url.href, rls: false })
    t.teardown(() => db.close())
    await as(db, 'ada', "insert into tasks (user_id, title) values ('ada', 'hers')")
    t.same(await as(db, 'bob', 'select * from tasks'), [], "another user's rows are hidden")
    t.equal((await as(db, 'ada', 'select * from tasks')).length, 1, 'their own rows are not')
  })
})
