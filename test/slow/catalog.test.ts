import { EventEmitter, once } from 'node:events'
import { sql } from 'kysely'
import pg from 'pg'
import t from 'tap'
import { connect, type Database } from '../../src/database/index.ts'
import { isolate } from '../../src/isolation/index.ts'
import { diagnose, migrate, readinessOf } from '../../src/migrations/index.ts'
import { isolation } from '../../src/tables.ts'
import { Tasks } from '../../src/tasks.ts'
import { build, identity } from '../helper/app.ts'
import { databaseUrl, migratedUrl, openDatabase } from '../helper/database.ts'
import { asRole, rolledBack, runAll, scopeOf } from '../helper/sql.ts'
import { CATALOG_MUTANTS } from '../isolation/catalog-faults.ts'
import { openWireProxy } from '../helper/wire-proxy.ts'
import { behindProxy, Injection, SPLITTING } from '../isolation/wire-faults.ts'

const { TEST_DATABASE_URL } = process.env

/** The SQL at the end of a sentence of doctor. */
const repairIn = (sentence: string) => /(?:\. |must run: )(.*)$/.exec(sentence)?.[1] ?? ''

t.test('each fault of the catalog is found, named and repaired', async (t) => {
  const db = await openDatabase(t)
  const ready = readinessOf(db)
  await ready()
  t.same(await diagnose(db), [], 'all is well at first')
  const here = Object.entries(CATALOG_MUTANTS).filter(([, { roles }]) => !roles)
  for (const [what, { found, sql: text, decision }] of here) {
    await db.asLogin((login) => runAll(login, text))
    await t.rejects(ready(), { statusCode: 503, code: 'isolation_broken' }, `${what}: /ready is 503`)
    const sentences = await diagnose(db)
    t.ok(
      sentences.some((sentence) => sentence.includes(found)),
      `doctor says: ${sentences.join(' | ')}`,
    )
    if (decision) await db.asLogin((login) => runAll(login, decision))
    // The rights that a table had may be seen to be gone only when its owner is the right one again.
    for (let round = 1; round <= 2; round++) {
      for (const sentence of await diagnose(db))
        await db.asLogin((login) => runAll(login, repairIn(sentence)))
    }
    t.same(await diagnose(db), [], 'with the repair all is well again')
    await ready()
    await db.asLogin((login) => runAll(login, CLEANUP))
  }
  const [before, after] = [await build(t, { database: db }), await build(t, { database: db })]
  t.equal((await before.inject('/ready')).statusCode, 200, '/ready is 200 at last')
  await db.asLogin((login) => runAll(login, CATALOG_MUTANTS['not forced']?.sql ?? ''))
  const response = await after.inject('/ready')
  t.match(
    [response.statusCode, response.json().code],
    [503, 'isolation_broken'],
    'and says what is wrong over HTTP',
  )
})

// What is left of the faults once nobody can reach it.
const CLEANUP = `drop view if exists task_titles; drop materialized view if exists task_copy; 
  drop function if exists all_tasks(), noon(); drop sequence if exists numbers;
  drop schema if exists archive cascade`

t.test('each fault of a role is found, named and repaired', async (t) => {
  const db = await openDatabase(t)
  for (const [what, { found, sql: text, roles }] of Object.entries(CATALOG_MUTANTS)) {
    if (!roles) continue
    await rolledBack(db, async (trx) => {
      await runAll(trx, text)
      const inside: Database = {
        ...db,
        check: (use) => use(trx, (statements) => db.run(statements, undefined, true)),
      }
      await t.rejects(
        readinessOf(inside)(),
        { statusCode: 503, code: 'isolation_broken' },
        `${what}: /ready is 503`,
      )
      const faults = await isolation.compareCatalog(trx, true)
      t.ok(
        faults.some(({ fault }) => fault.includes(found)),
        `it says: ${faults.map(({ fault }) => fault).join(' | ')}`,
      )
      for (const { repair } of faults) await runAll(trx, repair)
      t.same(await isolation.compareCatalog(trx, true), [], 'with the repair all is well again')
    })
  }
  t.same(await diagnose(db), [], 'nothing of it is left')
})

t.test("an extension's object hides nothing that has the same number", async (t) => {
  const db = await openDatabase(t)
  for (const what of [
    'a view of the owner',
    'a definer function',
    'a right to read a sequence',
    'a table with the owner column that is not declared',
  ]) {
    await rolledBack(db, async (trx) => {
      await runAll(trx, CATALOG_MUTANTS[what]?.sql ?? '')
      const before = await isolation.compareCatalog(trx, true)
      // Each catalog counts for itself.
      await runAll(
        trx,
        `insert into pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
        select 'pg_class'::regclass, p.oid, 0, 'pg_extension'::regclass, e.oid, 0, 'e'::"char"
        from pg_extension as e, pg_proc as p where extname = 'plpgsql' and pronamespace = 'public'::regnamespace
        union all select 'pg_proc'::regclass, c.oid, 0, 'pg_extension'::regclass, e.oid, 0, 'e'
        from pg_extension as e, pg_class as c where extname = 'plpgsql' and relnamespace = 'public'::regnamespace`,
      )
      t.ok(before.length > 0, what)
      t.same(await isolation.compareCatalog(trx, true), before, 'the same is found')
    })
  }
})

t.test('what an owner may do is said once: revoked, it would be lacking after the repair', async (t) => {
  const db = await openDatabase(t)
  for (const [what, { sql: text }] of Object.entries(CATALOG_MUTANTS)) {
    if (!what.endsWith(' of the role')) continue
    await rolledBack(db, async (trx) => {
      await runAll(trx, text)
      t.match(await isolation.compareCatalog(trx, true), { length: 1, 0: { fault: / owns the / } }, what)
    })
  }
})

t.test('what is declared as accepted, or as the table of another service, is no fault', async (t) => {
  const db = await openDatabase(t)
  const { accepting, foreign } = {
    accepting: declare({ accepted: ['one_title', 'by_id', 'of_task'], foreign: [] }),
    foreign: declare({ accepted: [], foreign: ['memos'] }),
  }
  const faults = (of: typeof accepting) => db.asLogin((login) => of.compareCatalog(login, db.rls))
  await db.asLogin((login) =>
    runAll(
      login,
      `${CATALOG_MUTANTS['a unique index without the owner']?.sql}; ${CATALOG_MUTANTS['a foreign key without the owner']?.sql}`,
    ),
  )
  t.same(await faults(accepting), [], 'accepted keys')
  t.equal((await faults(foreign)).length, 3, 'which are found where they are not accepted')
  await db.asLogin((login) =>
    runAll(login, 'drop table remarks; alter table tasks drop constraint by_id; drop index one_title'),
  )
  await db.asLogin((login) => runAll(login, 'create table memos (user_id text)'))
  t.same(await faults(foreign), [], 'a table of another service')
  t.match(await faults(accepting), [{ fault: /memos/ }], 'which is found where it is not declared')
})

type Tables = Record<string, Record<string, unknown>>

/** What the service declares, so that nothing of it is a fault here. */
const DECLARED = {
  owned: Object.fromEntries(isolation.tables.map(({ name, key }) => [name, { key }])),
  shared: Object.fromEntries(isolation.declaration.shared.map((name) => [name, true as const])),
}

function declare(options: { accepted: string[]; foreign: string[] }) {
  return isolate<never, Tables, Tables>({
    owner: { user_id: () => '' },
    settings: 'app',
    roles: { owned: 'taskward_user', shared: 'taskward_service' },
    ...DECLARED,
    ...options,
  }).isolation
}

t.test('a table whose migration forgot protect() is found at start', async (t) => {
  const db = await openDatabase(t)
  const { isolation, protect } = isolate<never, Tables, Tables>({
    owner: { user_id: () => '' },
    settings: 'app',
    roles: { owned: 'taskward_user', shared: 'taskward_service' },
    shared: DECLARED.shared,
    owned: { ...DECLARED.owned, memos: { key: 'id' } },
  })
  const compare = () => db.asLogin((login) => isolation.compareCatalog(login, db.rls))
  t.match(
    await compare(),
    [{ fault: 'Table memos is declared, but is not there.' }],
    'a table without a migration',
  )
  await db.asLogin((login) =>
    runAll(
      login,
      `create table memos (user_id varchar(255) not null, id int, primary key (user_id, id));
      grant select, insert, update, delete on memos to taskward_user`,
    ),
  )
  t.match(
    (await compare()).map(({ fault }) => fault),
    [
      'Row-level security is not enabled and forced on memos.',
      'Table memos has no policy own_rows as declared',
    ],
    'a table without protection',
  )
  for (const { repair } of await compare()) await db.asLogin((login) => runAll(login, repair))
  t.same(await compare(), [], 'what is said to repair it does')
  await db.asLogin((login) => protect(login, 'memos'))
  t.same(await compare(), [], 'and protect() makes the same')
})

t.test('and logged once when the service listens', async (t) => {
  const url = await migratedUrl()
  const db = await connect({ url })
  await db.asLogin((login) => runAll(login, CATALOG_MUTANTS['protect() was forgotten']?.sql ?? ''))
  await db.close()
  const faults: { level: string; msg: string }[] = []
  const log = new EventEmitter()
  const onLog = (line: string) => {
    const entry = JSON.parse(line)
    if (entry.level === 'error') log.emit('error line', faults.push(entry))
  }
  const app = await build(t, { env: { DATABASE_URL: url }, database: null, onLog })
  t.same(faults, [], 'not before')
  const logged = once(log, 'error line')
  await app.listen({ host: '127.0.0.1', port: 0 })
  await logged
  await app.inject('/health')
  t.match(
    faults.map(({ msg }) => msg),
    [
      /^Row-level security is not enabled and forced on tasks. alter table tasks enable/,
      /^Table tasks has no policy own_rows as declared/,
    ],
  )
})

t.test('two owner columns', async (t) => {
  const db = await openDatabase(t)
  const { isolation, protect } = isolate<
    never,
    { papers: { org_id: string; user_id: string; id: number } },
    Record<never, never>
  >({
    owner: { org_id: () => '', user_id: () => '' },
    settings: 'app',
    roles: { owned: 'taskward_user', shared: 'taskward_service' },
    owned: { papers: { key: 'id' } },
    shared: {},
    foreign: Object.keys(DECLARED.owned),
  })
  await db.asLogin(async (login) => {
    await runAll(
      login,
      `create table papers (org_id text, user_id text, id int, primary key (org_id, user_id, id)); grant select, insert, update, delete on papers to taskward_user`,
    )
    await protect(login, 'papers')
  })
  const compare = async () =>
    (await db.asLogin((login) => isolation.compareCatalog(login, false))).map(({ fault }) => fault)
  t.same(await compare(), [], 'the policy that protect() makes is the declared one')
  await db.asLogin((login) => runAll(login, 'create unique index half on papers (org_id, id)'))
  t.match(await compare(), [/unique index half/], 'half of the owner is not enough')
})

t.test('partitions', async (t) => {
  const db = await openDatabase(t)
  const { isolation, protect } = isolate<never, Tables, Tables>({
    owner: { user_id: () => '' },
    settings: 'app',
    roles: { owned: 'taskward_user', shared: 'taskward_service' },
    owned: { ...DECLARED.owned, papers: { key: 'id' } },
    shared: DECLARED.shared,
  })
  const compare = () => db.asLogin((login) => isolation.compareCatalog(login, db.rls))
  await db.asLogin(async (login) => {
    await runAll(
      login,
      `create table papers (user_id text, id int, primary key (user_id, id)) partition by hash (user_id);
      create table papers_0 partition of papers for values with (modulus 1, remainder 0);
      grant select, insert, update, delete on papers to taskward_user`,
    )
    await protect(login, 'papers')
  })
  t.same(await compare(), [], 'are no fault as long as no role reaches them')
  await db.asLogin((login) => runAll(login, 'grant select on papers_0 to taskward_user'))
  const faults = await compare()
  t.match(
    faults,
    [{ fault: 'Role taskward_user may select in papers_0' }],
    "are not bound by their table's policy",
  )
  for (const { repair } of faults) await db.asLogin((login) => runAll(login, repair))
  t.same(await compare(), [], 'and are out of reach again')
  const sequence = `create sequence paper_ids; alter table papers alter id set default nextval('paper_ids');
    grant usage, select on sequence paper_ids to taskward_user`
  await db.asLogin((login) => runAll(login, sequence))
  const [fault, ...others] = await compare()
  t.same([fault?.fault, others], ['Role taskward_user may use the sequence paper_ids (select).', []])
  await db.asLogin((login) => runAll(login, fault?.repair ?? ''))
  t.same(await compare(), [], 'the sequence of their ids may be used')
})

t.test('migrate revokes what everybody may make', async (t) => {
  const db = await openDatabase(t)
  await db.asLogin((login) => runAll(login, 'grant create on schema public to public'))
  t.match(await diagnose(db), [/taskward_service may create/, /taskward_user may create/])
  await migrate(db)
  t.same(await diagnose(db), [])
})

t.test('a temporary table does not stand in for a real one', async (t) => {
  const db = await openDatabase(t, { poolMax: 1 })
  await migrate(db) // rights on a database are not copied with it
  const rights = await db.asLogin((login) =>
    sql<{
      may: boolean
    }>`select has_database_privilege('taskward_user', current_database(), 'temporary') as may`.execute(login),
  )
  t.same(rights.rows, [{ may: false }], 'the right to make one is revoked')
  await t.rejects(
    asRole(db, { user: 'eve' }, 'create temp table tasks (like public.tasks)'),
    { code: '42501' },
    'so it is refused',
  )

  if (db.embedded) return
  // Where one was made all the same, on the very connection that requests share.
  const injection = new Injection()
  const { db: shared } = await behindProxy(t, await migratedUrl(), injection.rewriting)
  const [ada, bob] = [new Tasks(await scopeOf(shared, 'ada')), new Tasks(await scopeOf(shared, 'bob'))]
  await bob.create({ title: 'his' })
  const page = { skip: 0, limit: 10 }
  await bob.list(page)
  injection.arm('create temp table tasks (like public.tasks including all)')
  await ada.create({ title: 'hers' })
  t.equal(injection.times, 1, 'there is a temporary table tasks')
  t.match(await ada.list(page), { tasks: [{ title: 'hers' }] }, 'her task went to the real one')
  t.match(await bob.list(page), { tasks: [{ title: 'his' }] }, 'and his are read from it')
  injection.arm('discard temp')
  t.match(await ada.list(page), { tasks: [{ title: 'hers' }] }, 'and stay without it')
  t.equal(injection.times, 2, 'there is none any more')
})

t.test('a login that owns nothing', { skip: !TEST_DATABASE_URL && 'needs TEST_DATABASE_URL' }, async (t) => {
  const owner = await databaseUrl()
  const admin = new pg.Client({ connectionString: owner })
  await admin.connect()
  const login = `owns_nothing_${process.pid}`
  await admin.query(`create role ${login} login password 'x' nosuperuser nobypassrls`)
  t.teardown(async () => {
    await admin.query(`drop owned by ${login} cascade; drop role ${login}`)
    await admin.end()
  })
  const url = new URL(owner)
  url.username = login
  url.password = 'x'
  await admin.query(`grant create on database "${url.pathname.slice(1)}" to public`) // which this login could not revoke

  const app = await build(t, { env: { DATABASE_URL: url.href, DATABASE_OWNER_URL: owner }, database: null })
  t.equal((await app.inject('/ready')).statusCode, 200, 'the service is ready: the owner has migrated')
  const [ada, bob] = await Promise.all([identity(), identity()])
  const add = (headers: Record<string, string>, to = app) =>
    to.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } })
  t.equal((await add(ada.headers)).statusCode, 201, 'a task is made')
  t.equal((await app.inject({ url: '/todos', headers: ada.headers })).json().length, 1, 'and listed')
  t.equal((await app.inject({ url: '/todos', headers: bob.headers })).json().length, 0, 'to its owner alone')
  const { rows } = await admin.query('select count(*)::int as n from pg_class where relowner = $1::regrole', [
    login,
  ])
  t.equal(rows[0].n, 0, 'the login owns nothing')

  // A pooler that loses the settings: the statement runs as the login.
  for (const [way, splitting] of Object.entries(SPLITTING)) {
    const proxy = await openWireProxy(t, url.href, splitting)
    const app = await build(t, {
      env: { DATABASE_URL: proxy.url, DATABASE_OWNER_URL: owner },
      database: null,
    })
    const { headers } = ada
    t.equal((await app.inject({ url: '/todos', headers })).statusCode, 503, `${way}: no row is read`)
    t.equal((await add(ada.headers, app)).statusCode, 500, 'and none are written')
    t.equal((await app.inject('/ready')).statusCode, 503, 'and it is not ready')
  }
})

t.test('a table of a newer release keeps no instance of this one from being ready', async (t) => {
  const db = await openDatabase(t)
  const ready = readinessOf(db)
  const made = `create table labels (user_id text, id int, primary key (user_id, id));
    grant select on labels to taskward_user`
  await db.asLogin((login) => runAll(login, made))
  await t.rejects(ready(), { code: 'isolation_broken' }, 'a table that no release has made')
  await db.asLogin((login) => runAll(login, `insert into kysely_migration values ('9999_labels', 'now')`))
  await t.resolves(ready(), 'one of a migration that is not known here')
  t.same(await migrate(db), [], 'nor from migrating, which then has nothing to do')
  for (const what of [
    'not forced',
    'a view of the owner',
    'a materialized view',
    'a child table',
    "a right on the other role's table",
    'a table in another schema',
  ]) {
    await rolledBack(db, async (trx) => {
      await runAll(trx, CATALOG_MUTANTS[what]?.sql ?? '')
      const inside: Database = {
        ...db,
        check: (use) => use(trx, (statements) => db.run(statements, undefined, true)),
      }
      await t.rejects(readinessOf(inside)(), { code: 'isolation_broken' }, `all the same: ${what}`)
    })
  }
})
