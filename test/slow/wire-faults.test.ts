import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import pg from 'pg'
import t, { type Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import { connect, type Database, type DatabaseOptions } from '../../src/database/index.ts'
import { type Given, isolate, UserScope } from '../../src/isolation/index.ts'
import { createLogger } from '../../src/log.ts'
import { readinessOf } from '../../src/migrations/index.ts'
import type { OwnedTables } from '../../src/tables.ts'
import { environment, identity } from '../helper/app.ts'
import { migratedUrl } from '../helper/database.ts'
import { pgPoolVersion, startPgPool } from '../helper/pgpool.ts'
import type { Message, Rewriting } from '../helper/wire-proxy.ts'
import { behindProxy, FAULTS, faulty, Injection, SPLITTING } from '../isolation/wire-faults.ts'

const { TEST_DATABASE_URL } = process.env
const skip = !TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'

interface NoteTable {
  user_id: OwnedTables['tasks']['user_id']
  id: number
  title: string
  parent: number | null
}

const { statement, claimOwners } = isolate<
  string,
  Pick<OwnedTables, 'tasks'> & { memos: NoteTable },
  Record<never, never>
>({
  owner: { user_id: (id) => id },
  settings: 'app',
  roles: { owned: 'taskward_user', shared: 'taskward_service' },
  owned: { tasks: { key: 'id' }, memos: { key: 'id' } },
  shared: {},
})
const ownerOf = claimOwners()

type Row = Record<string, unknown>

const titles = statement((mine) => mine.selectFrom('tasks').select(['title', 'user_id']).orderBy('id'))
const everything = statement((mine) => mine.selectFrom('tasks').selectAll().orderBy('id'))
const add = statement((mine, { title }: Given<{ title: string }>) =>
  mine.insertInto('tasks', { title }).returning(['title']),
)

const echo = {
  array: statement((_, { value }: Given<{ value: unknown }>) => sql<Row>`select ${value}::text[] as value`),
  json: statement((_, { value }: Given<{ value: unknown }>) => sql<Row>`select ${value}::jsonb as value`),
  bytes: statement((_, { value }: Given<{ value: unknown }>) => sql<Row>`select ${value}::bytea as value`),
  time: statement(
    (_, { value }: Given<{ value: unknown }>) => sql<Row>`select ${value}::timestamptz as value`,
  ),
  text: statement((_, { value }: Given<{ value: unknown }>) => sql<Row>`select ${value}::text as value`),
}

/** Tasks of ada and bob on a new database, which is reached directly. */
async function start(t: Test) {
  const url = await migratedUrl()
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  t.teardown(() => admin.end())
  await admin.query("insert into tasks (user_id, title) values ('ada', 'hers'), ('bob', 'his')")
  return { url, admin }
}

/** Two users behind a proxy that rewrites messages. */
async function behind(t: Test, url: string, rewriting: () => Rewriting, options?: Partial<DatabaseOptions>) {
  const { db, proxy } = await behindProxy(t, url, rewriting, options)
  return { db, proxy, ada: new UserScope(db, ownerOf('ada')), bob: new UserScope(db, ownerOf('bob')) }
}

for (const prepare of [true, false]) {
  t.test(
    `an answer that is not the asker's is not delivered, prepare ${prepare ? 'on' : 'off'}`,
    { skip },
    async (t) => {
      const { url } = await start(t)
      for (const [what, make] of FAULTS) {
        let armed = false
        const { ada, bob, proxy } = await behind(
          t,
          url,
          faulty(make(), () => armed),
          { prepare },
        )
        t.match(await ada.all(titles, {}), [{ title: 'hers', user_id: 'ada' }], 'all is well at first')
        armed = true
        const asked = await Promise.allSettled([
          ada.all(titles, {}),
          bob.all(titles, {}),
          ada.all(titles, {}),
        ])
        armed = false
        t.same(
          asked.map(({ status }) => status),
          ['rejected', 'rejected', 'rejected'],
          `${what}: nothing is delivered`,
        )
        t.match(asked[0], { reason: { name: 'ForeignAnswerError' } }, `${what}: it is known for what it is`)
        t.match(await bob.all(titles, {}), [{ title: 'his', user_id: 'bob' }], 'and the next has its answer')
        t.ok(proxy.connections() > 1, 'on another connection')
      }
    },
  )
}

t.test('answers that change places', { skip }, async (t) => {
  const { url } = await start(t)
  let armed = false
  const { ada, bob } = await behind(t, url, () => {
    let held: Message[] | undefined
    let answer: Message[] = []
    return {
      toClient(message) {
        if (!armed) return undefined
        answer.push(message)
        if (message.type !== 'Z') return []
        const whole = answer
        answer = []
        if (held) return [...whole, ...held]
        held = whole
        return []
      },
    }
  })
  const pairs = {
    'of two users': () => [ada.all(titles, {}), bob.all(titles, {})],
    'of one user': () => [ada.one(echo.text, { value: 'first' }), ada.one(echo.text, { value: 'second' })],
  }
  for (const [whose, ask] of Object.entries(pairs)) {
    armed = false
    await Promise.all(ask())
    armed = true
    const asked = await Promise.allSettled<unknown>(ask())
    t.match(
      asked,
      [{ reason: { name: 'ForeignAnswerError' } }, { status: 'rejected' }],
      `${whose}: neither is delivered`,
    )
  }
})

t.test('a server that says FATAL and leaves the connection open', { skip }, async (t) => {
  const { url } = await start(t)
  let armed = false
  const fatal = Buffer.from('SFATAL\0VFATAL\0C08P01\0Minvalid frontend message type 115\0\0', 'latin1')
  const { ada, bob } = await behind(
    t,
    url,
    () => {
      let gone = false
      return {
        toClient(message) {
          if (gone) return []
          if (!armed || message.type !== 'Z') return undefined
          gone = true
          return [{ type: 'E', body: fatal }]
        },
      }
    },
    { statementTimeout: 200 },
  )
  await ada.all(titles, {})
  armed = true
  const asked = Promise.allSettled([ada.all(titles, {}), bob.all(titles, {}), ada.all(titles, {})])
  const late = sleep(20_000, [], { ref: false })
  t.same(
    (await Promise.race([asked, late])).map(({ status }) => status),
    ['rejected', 'rejected', 'rejected'],
    'every batch on it ends',
  )
  armed = false
  t.equal((await bob.all(titles, {})).length, 1, 'and the next is answered')
})

t.test(
  'only the first answer of a connection is sealed, where statements are prepared',
  { skip },
  async (t) => {
    const { url } = await start(t)
    const binds: number[] = []
    const { ada } = await behind(t, url, () => ({
      toServer({ type }) {
        if (type === 'B') binds[binds.length - 1]! += 1
        if (type === 'S') binds.push(0)
        return undefined
      },
    }))
    binds.push(0)
    await Promise.all([ada.all(titles, {}), ada.all(titles, {})])
    await ada.all(titles, {})
    t.same(binds.filter(Boolean), [3, 3, 2], 'the settings are read again until an answer came')
  },
)

t.test('a pooler that runs settings and statement in different transactions', { skip }, async (t) => {
  const { url } = await start(t)
  for (const [way, splitting] of Object.entries(SPLITTING)) {
    const off = await behind(t, url, splitting, { prepare: false })
    await t.rejects(
      off.ada.all(titles, {}),
      { name: 'ForeignAnswerError' },
      `${way}, prepare off: no request is answered`,
    )
    await t.rejects(readinessOf(off.db)(), 'nor is it ready')
    t.equal(await ready(t, off.db), 503, '/ready is 503')

    const on = await behind(t, url, splitting, { prepare: true })
    for (let i = 1; i <= 3; i++) {
      const asked = await Promise.allSettled([on.ada.all(titles, {}), on.bob.all(titles, {})])
      t.match(
        asked,
        [{ reason: { name: 'ForeignAnswerError' } }, { status: 'rejected' }],
        `${way}, prepare on: no request is answered`,
      )
    }
    t.equal(on.proxy.connections(), 3, 'on three connections')
    t.equal(await ready(t, on.db), 503, `${way}, prepare on: /ready is 503`)
  }
})

const pgPool = pgPoolVersion()
t.test(
  `pgpool-II ${pgPool}, which does so`,
  { skip: skip || (!pgPool && 'pgpool-II is not installed: apt-get install pgpool2') },
  async (t) => {
    const { url } = await start(t)
    const pooled = await startPgPool(t, url)
    for (const prepare of [true, false]) {
      const db = await connect({ url: pooled, poolMax: 2, prepare })
      t.teardown(() => db.close())
      t.equal(await ready(t, db), 503, `/ready is 503, prepare ${prepare ? 'on' : 'off'}`)
      const ada = new UserScope(db, ownerOf('ada'))
      await t.rejects(ada.all(titles, {}), { name: 'ForeignAnswerError' }, 'no request is answered')
    }
  },
)

async function ready(t: Test, db: Database): Promise<number> {
  const app = await serve(t, db)
  return (await app.inject('/ready')).statusCode
}

async function serve(
  t: Test,
  db: Database,
  routes: (app: Awaited<ReturnType<typeof buildApp>>) => void = () => {},
) {
  const app = await buildApp({ env: environment, database: db, logger: createLogger({ write() {} }) })
  routes(app)
  t.teardown(() => app.close())
  return app
}

/** What a client gets of the service behind a database. */
async function over(t: Test, db: Database) {
  const app = await serve(t, db)
  const { headers, id } = await identity()
  return { app, id, list: () => app.inject({ url: '/todos', headers }) }
}

t.test('values that no Date can hold, and sessions of other styles', { skip }, async (t) => {
  const { url, admin } = await start(t)
  const { rows } = await admin.query('select current_database() as name')
  const name = rows[0].name
  for (const style of ['ISO, MDY', 'German', 'SQL, DMY', 'Postgres']) {
    await admin.query(
      `alter database ${name} set datestyle = '${style}'; alter database ${name} set timezone = 'Europe/Paris'`,
    )
    const db = await connect({ url, poolMax: 1 })
    t.teardown(() => db.close())
    const { id, list } = await over(t, db)
    const values: [written: string, read: string][] = [
      ['2026-07-31 09:30:00.123456+00', '2026-07-31T09:30:00.123Z'],
      ['infinity', 'infinity'],
      ['-infinity', '-infinity'],
      ['0044-03-15 12:00:00+00 BC', '-000043-03-15T12:00:00.000Z'],
      ['0001-01-01 00:00:00+00 BC', '0000-01-01T00:00:00.000Z'],
      ['10000-01-01 00:00:00+00', '+010000-01-01T00:00:00.000Z'],
      ['294276-12-31 23:59:59.999999+00', '+294276-12-31T23:59:59.999Z'],
    ]
    for (const [written] of values) {
      await admin.query('insert into tasks (user_id, title, created_at) values ($1, $2, $3::timestamptz)', [
        id,
        written,
        written,
      ])
    }
    const response = await list()
    t.equal(response.statusCode, 200, `${style}: the list is answered`)
    const read = response.json<{ created_at: string }[]>().map(({ created_at }) => created_at)
    t.same(
      read.toReversed(),
      values.map(([, text]) => text),
      'with the right values',
    )
  }
})

t.test('a table that changes under prepared statements', { skip }, async (t) => {
  const { url, admin } = await start(t)
  const db = await connect({ url, poolMax: 1 })
  t.teardown(() => db.close())
  const scope = new UserScope(db, ownerOf('ada'))
  const { list } = await over(t, db)
  const CHANGES: [change: string, Row][] = [
    ['alter table tasks add column extra text default $$new$$', { extra: 'new', completed: false }],
    ['alter table tasks drop column extra, add column other int default 7', { other: 7, completed: false }],
    [
      'alter table tasks drop column completed, add column completed boolean not null default true',
      { completed: true },
    ],
    ['alter table tasks rename column other to another', { another: 7, completed: true }],
    ['alter table tasks drop column another', { completed: true }],
    ['alter table tasks alter column title type varchar(255)', { title: 'hers' }],
    ['alter table tasks alter column title type text', { title: 'hers' }],
  ]
  for (const [change, expected] of CHANGES) {
    await scope.all(everything, {})
    await scope.all(titles, {})
    await admin.query(change)
    const [all] = (await scope.all(everything, {})) as Row[]
    t.match(all, { user_id: 'ada', title: 'hers', ...expected }, `${change}: each value under its name`)
    const { rows } = await admin.query("select * from tasks where user_id = 'ada'")
    t.same(Object.keys(all ?? {}), Object.keys(rows[0]), 'and no other column')
    t.match(await scope.all(titles, {}), [{ title: 'hers', user_id: 'ada' }], 'what is prepared goes on')
    t.equal((await list()).statusCode, 200, 'and so do requests')
  }
})

t.test('a first use of a statement that fails, with others behind it', { skip }, async (t) => {
  const { url, admin } = await start(t)
  for (const prepare of [true, false]) {
    const db = await connect({ url, poolMax: 1, statementTimeout: 300, prepare })
    t.teardown(() => db.close())
    const { list } = await over(t, db)
    await admin.query('begin; lock table tasks in access exclusive mode')
    const asked = Array.from({ length: 60 }, list)
    const first = await Promise.race(asked)
    await admin.query('rollback')
    t.equal(first.statusCode, 503, 'the first is refused after its time')
    const codes = (await Promise.all(asked)).map(({ statusCode }) => statusCode)
    t.ok(
      codes.every((code) => code === 200 || code === 503),
      `no other failure: ${[...new Set(codes)]}`,
    )
    t.ok(codes.filter((code) => code === 200).length >= 50, 'nearly all of the others have their answer')
    t.equal((await list()).statusCode, 200, 'and all is well afterwards')
  }
})

t.test('prepared statements that somebody deallocates', { skip }, async (t) => {
  const { url } = await start(t)
  const injection = new Injection()
  const { db } = await behind(t, url, injection.rewriting)
  const { list } = await over(t, db)
  t.equal((await list()).statusCode, 200, 'all is well at first')
  for (let i = 1; i <= 3; i++) {
    injection.arm('deallocate all')
    const codes = await Promise.all(Array.from({ length: 20 }, list))
    t.same(new Set(codes.map(({ statusCode }) => statusCode)), new Set([200]), 'nobody notices')
    t.equal(injection.times, i, 'that they were deallocated')
  }
})

t.test('parameters of every kind', async (t) => {
  for (const prepare of [true, false]) {
    const db = await connect({ url: await migratedUrl(), poolMax: 1, prepare })
    t.teardown(() => db.close())
    const scope = new UserScope(db, ownerOf('ada'))
    const read = async (kind: keyof typeof echo, value: unknown) =>
      (await scope.one(echo[kind], { value })).value
    for (const [kind, value, expected = value] of [
      ['array', ['a', 'b,c', 'd"e', 'f\\g', null, 'NULL', '']],
      ['array', []],
      ['json', { a: [1, { b: 'ä"' }], c: null }],
      ['bytes', Buffer.from([0, 255, 0x27, 0x5c, 10])],
      ['time', new Date('2026-01-31T09:30:00.123Z'), '2026-01-31T09:30:00.123Z'],
      ['text', 12n, '12'],
      ['text', true, 'true'],
    ] as [keyof typeof echo, unknown, unknown?][]) {
      t.same(await read(kind, value), expected, `${kind} ${String(value)}`)
    }
    t.same(await read('text', undefined), null, 'undefined is null')

    const circular: Row = {}
    circular.self = circular
    for (const value of [() => 1, Symbol('x'), circular]) {
      const asked = await Promise.allSettled([
        scope.all(titles, {}),
        scope.all(echo.text, { value }),
        scope.all(echo.text, { value: 'behind' }),
        scope.transaction([scope.bind(add, { title: 'never' }), scope.bind(echo.text, { value })]),
      ])
      t.same(
        asked.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled', 'rejected'],
        `a ${typeof value} fails its batch alone`,
      )
      t.match(asked[1], { reason: TypeError }, 'and is told as a fault of the program')
    }
    t.same(await scope.all(titles, {}), [], 'nothing of such a batch is written')
  }
})

interface Memo {
  id: number
  title: string
  parent: number | null
  /** More columns, as JSON. */
  more: string
}

const insertNote = statement(
  ({ owner }, { id, title, parent, more }: Given<Memo>) => sql<{ id: number }>`
    insert into memos (user_id, id, title, parent, code, size, span, data)
    select ${owner.user_id}, ${id}::int, ${title}, ${parent}::int, code, size, span, data
    from jsonb_to_record(${more}::jsonb) as t (code text, size int, span int4range, data json) returning id`,
)

t.test("what a table's own rules refuse is no fault of the service", async (t) => {
  const db = await connect({ url: await migratedUrl() })
  t.teardown(() => db.close())
  await db.asLogin((login) =>
    sql`create table memos (
      user_id text not null, id int, title text check (title <> ''), parent int,
      code varchar(3) not null, size smallint, span int4range, data jsonb,
      primary key (user_id, id), foreign key (user_id, parent) references memos, exclude using gist (span with &&)
    )`
      .execute(login)
      .then(() => sql`grant all on memos to taskward_user`.execute(login)),
  )
  const scope = new UserScope(db, ownerOf('ada'))
  const app = await serve(t, db, (app) => {
    app.post('/memos', async ({ body }) => scope.one(insertNote, body as never))
  })
  const post = async (title: string, id: number, parent: number | null = null, more: object = {}) => {
    const payload = { id, title, parent, more: JSON.stringify({ code: 'x', ...more }) }
    const response = await app.inject({ method: 'POST', url: '/memos', payload })
    return [response.statusCode, response.json().code ?? 'made']
  }
  const refused: [what: string, more: object, status: number, code: string][] = [
    ['an exclusion', { span: '[5,9]' }, 409, 'already_exists'],
    ['a value that is missing', { code: null }, 422, 'value_not_allowed'],
    ['a text that is too long', { code: 'long' }, 422, 'value_not_allowed'],
    ['a number that is too large', { size: 40_000 }, 422, 'value_not_allowed'],
  ]
  t.same(await post('first', 1, null, { span: '[1,5]' }), [200, 'made'], 'what follows the rules is made')
  t.same(await post('again', 1), [409, 'already_exists'], 'a unique key')
  t.same(await post('child', 2, 99), [409, 'reference_violated'], 'a foreign key')
  t.same(await post('', 3), [422, 'value_not_allowed'], 'a check')
  t.same(await post('a\0b', 4), [422, 'text_not_allowed'], 'NUL')
  t.same(await post('x', 6, null, { data: { a: '\0' } }), [422, 'text_not_allowed'], 'NUL in JSON')
  for (const [what, more, ...answer] of refused) t.same(await post('x', 7, null, more), answer, what)
  t.same(await post('child', 5, 1), [200, 'made'], 'and so is what refers to it')
})
