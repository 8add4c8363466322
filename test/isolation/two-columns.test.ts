import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ColumnType, type Kysely, sql } from 'kysely'
import t from 'tap'
import { connect } from '../../src/database/index.ts'
import { type Given, isolate, prove, UserScope } from '../../src/isolation/index.ts'
import { embeddedUrl } from '../helper/database.ts'

// The walls know no owner column, table, role or setting but what is declared: here a row belongs to a member of an
// organisation.

type OwnerColumn = ColumnType<string, never, never>
interface Note {
  org_id: OwnerColumn
  user_id: OwnerColumn
  id: ColumnType<number, never, never>
  body: string
}
interface Tag {
  org_id: OwnerColumn
  user_id: OwnerColumn
  id: ColumnType<number, never, never>
  note_id: number
  word: string
}
interface Plan {
  name: string
}

const { claimOwners, isolation, protect, sharedStatement, statement } = isolate<
  { org: string; user: string },
  { notes: Note; tags: Tag },
  { plans: Plan }
>({
  owner: { org_id: ({ org }) => org, user_id: ({ user }) => user },
  settings: 'two',
  roles: { owned: 'two_member', shared: 'two_service' },
  owned: { notes: { key: 'id' }, tags: { key: 'id' } },
  shared: { plans: true },
})
const ownerOf = claimOwners()

const MEMBERS = {
  ada: ownerOf({ org: 'acme', user: 'ada' }),
  bob: ownerOf({ org: 'acme', user: 'bob' }),
  // Another person, who has the same id in another organisation.
  otherAda: ownerOf({ org: 'other', user: 'ada' }),
}

async function makeTables(db: Kysely<any>): Promise<void> {
  await sql`create table notes (org_id text, user_id text, id bigint generated always as identity, body text not null,
    primary key (org_id, user_id, id))`.execute(db)
  await sql`create table tags (org_id text, user_id text, id bigint generated always as identity, note_id bigint not null,
    word text not null, primary key (org_id, user_id, id), unique (org_id, user_id, note_id, word),
    foreign key (org_id, user_id, note_id) references notes on delete cascade)`.execute(db)
  await sql`create table plans (name text primary key)`.execute(db)
  for (const table of ['notes', 'tags']) await protect(db, table)
}

const add = statement((mine, { body }: Given<{ body: string }>) =>
  mine.insertInto('notes', { body }).returning('id'),
)
const tag = statement((mine, { note_id, word }: Given<{ note_id: number; word: string }>) =>
  mine.insertInto('tags', { note_id, word }),
)
const tagged = statement((mine, { word }: Given<{ word: string }>) =>
  mine
    .selectFrom('notes')
    .innerJoin(mine.rows('tags').selectAll().as('tag'), 'tag.note_id', 'notes.id')
    .select(['notes.id', 'body', 'word'])
    .where('word', '=', word),
)
const rename = statement((mine, { body }: Given<{ body: string }>) =>
  mine.updateTable('notes').set({ body }).returning('id'),
)
const byHand = statement<{ n: number }>(
  (mine) => sql`select count(*)::int as n from notes
    where (org_id, user_id) = (${mine.owner.org_id}, ${mine.owner.user_id})`,
)
const plans = sharedStatement((db) => db.selectFrom('plans').select('name'))

// @ts-expect-error neither owner column can be written
const typed1 = () => statement((mine) => mine.insertInto('notes', { body: 'x', org_id: 'acme' }))
// @ts-expect-error
const typed2 = () => statement((mine) => mine.updateTable('notes').set({ user_id: 'bob' }))
const typed3 = () =>
  statement((mine) =>
    // @ts-expect-error another owned table is joined as the owner's rows alone
    mine.selectFrom('notes').innerJoin('tags', 'tags.note_id', 'notes.id').select('notes.id'),
  )
// @ts-expect-error the owner is made of both
const typed4 = () => ownerOf({ user: 'ada' })

t.test('a row belongs to the values of both columns', async (t) => {
  const db = await connect({ url: await embeddedUrl('empty') })
  t.teardown(() => db.close())
  await db.asLogin(async (login) => {
    await makeTables(login)
    await isolation.grantRoles(login)
    t.same(await isolation.compareCatalog(login, true), [], 'the catalog is as declared')
    t.same(await isolation.missingGrants(login), [], 'no grant is missing')
  })
  await db.run(isolation.probes, undefined, true)
  const scopes = Object.entries(MEMBERS).map(([name, owner]) => [name, new UserScope(db, owner)] as const)

  for (const [name, scope] of scopes) {
    const { id } = await scope.one(add, { body: `a note of ${name}` })
    await scope.all(tag, { note_id: id, word: 'home' })
  }
  for (const [name, scope] of scopes) {
    const body = `a note of ${name}`
    t.match(
      await scope.all(tagged, { word: 'home' }),
      [{ body, word: 'home' }],
      `${name} sees one joined row`,
    )
    t.same(await scope.all(byHand, {}), [{ n: 1 }], `${name} counts one row`)
    t.equal((await scope.all(rename, { body })).length, 1, `${name} changes one row`)
    for (const { name: table, firstPage, nextPage } of isolation.tables) {
      const [row, ...more] = await scope.all(firstPage, { limit: 10 })
      t.same(more, [], `${table}: the export of ${name} has one row`)
      t.match(row, table === 'notes' ? { body } : { word: 'home' })
      t.same(await scope.all(nextPage, { limit: 10, after: row?.id }), [], 'and no second page')
    }
  }

  const [[, ada], [, bob], [, otherAda]] = scopes as unknown as [
    (typeof scopes)[0],
    (typeof scopes)[0],
    (typeof scopes)[0],
  ]
  const [notes, tags] = isolation.tables
  t.same(await ada.all(notes!.deleteFirst, { limit: 10 }), [], 'nothing goes while others may refer to it')
  const [page] = await ada.all(tags!.deleteFirst, { limit: 1 })
  t.match(page, { last: Number, count: 1 }, 'a page goes, and says where it ended')
  t.same(await ada.all(tags!.deleteNext, { limit: 1, after: page?.last }), [], 'there is no other')
  await ada.transaction(
    isolation.tables.toReversed().map(({ deleteFirst }) => ada.bind(deleteFirst, { limit: 10 })),
  )
  for (const [scope, n] of [
    [ada, 0],
    [bob, 1],
    [otherAda, 1],
  ] as const)
    t.same(await scope.all(byHand, {}), [{ n }], 'erasure takes the rows of one member')
  t.same(
    await db.asLogin(async (login) => (await sql`select org_id from tags`.execute(login)).rows.length),
    2,
  )

  await t.test('the database holds without the guard', async (t) => {
    const as = (org: string, user: string, text: string) =>
      db.asLogin((login) =>
        login.transaction().execute(async (trx) => {
          await sql`select set_config('role', 'two_member', true), set_config('two.org_id', ${org}, true),
            set_config('two.user_id', ${user}, true)`.execute(trx)
          return (await sql.raw(text).execute(trx)).rows
        }),
      )
    t.match(await as('acme', 'bob', 'select org_id, user_id from notes'), [
      { org_id: 'acme', user_id: 'bob' },
    ])
    t.same(await as('acme', '', 'select * from notes'), [], 'one setting is not enough')
    t.same(await as('', 'bob', 'select * from notes'), [], 'nor is the other')
    for (const [org, user] of [
      ['other', 'bob'],
      ['acme', 'ada'],
    ])
      await t.rejects(
        as('acme', 'bob', `insert into notes (org_id, user_id, body) values ('${org}', '${user}', 'x')`),
        { code: '42501' },
        `no row for ${user} of ${org}`,
      )
  })

  await t.test('each difference of the catalog is found', async (t) => {
    const faults: [what: string, change: string, back: string, found: RegExp][] = [
      [
        'a policy on one column',
        "alter policy own_rows on notes using (org_id = current_setting('two.org_id', true))",
        "alter policy own_rows on notes using (org_id = current_setting('two.org_id', true) and user_id = current_setting('two.user_id', true))",
        /^Table notes has no policy own_rows as declared/,
      ],
      [
        'a unique key with one column',
        'create unique index words on tags (org_id, word)',
        'drop index words',
        /^The unique index words of tags lacks an owner column/,
      ],
      [
        'a foreign key with one column',
        'create unique index note_ids on notes (org_id, id); alter table tags add constraint loose foreign key (org_id, note_id) references notes (org_id, id)',
        'alter table tags drop constraint loose; drop index note_ids',
        /^The foreign key loose of tags refers to notes without the owner columns/,
      ],
      [
        'an undeclared table with either column',
        'create table drafts (user_id text)',
        'drop table drafts',
        /^Table drafts has the column user_id, but is not declared/,
      ],
    ]
    for (const [what, change, back, found] of faults) {
      const compare = (...statements: string[]) =>
        db.asLogin(async (login) => {
          for (const text of statements) await sql.raw(text).execute(login)
          return isolation.compareCatalog(login, true)
        })
      const differences = await compare(...change.split('; '))
      t.ok(
        differences.some(({ fault }) => found.test(fault)),
        `${what}: ${differences.map(({ fault }) => fault).join(' ')}`,
      )
      t.same(await compare(...back.split('; ')), [], `${what}, taken back`)
    }
    const { repair } = (
      await db.asLogin(async (login) => {
        await sql`drop policy own_rows on tags`.execute(login)
        return isolation.compareCatalog(login, true)
      })
    )[0] as { repair: string }
    await db.asLogin(async (login) => {
      for (const text of repair.split(';').filter((part) => part.trim())) await sql.raw(text).execute(login)
      t.same(await isolation.compareCatalog(login, true), [], 'its own repair repairs it')
    })
  })
})

t.test('the guard wants both columns', (t) => {
  const { declaration } = isolation
  const refused = {
    'select id from notes where org_id = $1': /notes\.user_id = \$2/,
    'select id from notes where user_id = $2': /notes\.org_id = \$1/,
    'select id from notes where org_id = $2 and user_id = $1': /not bound/,
    'insert into notes (org_id, body) values ($1, $3)': /user_id \$2/,
    'update notes set org_id = $1 where org_id = $1 and user_id = $2': /no statement may change it/,
  }
  for (const [text, message] of Object.entries(refused))
    t.throws(
      () => prove(text, declaration, ['org_id', 'user_id'], 'owner'),
      { name: 'UnscopedStatementError', message },
      text,
    )
  t.ok(
    prove(
      'select id from notes where user_id = $2 and org_id = $1',
      declaration,
      ['org_id', 'user_id'],
      'owner',
    ),
  )
  t.match(tagged.sql, /"notes"\."org_id" = \$\d+ and "notes"\."user_id" = \$\d+/, 'the builders bind both')
  t.match(plans.sql, 'select "name" from "plans"')
  t.same(
    new UserScope({ run: async () => [] }, MEMBERS.otherAda).bind(typed1(), {}).parameters,
    ['x', 'other', 'ada'],
    'what the types refuse, forced: an insert writes the owner all the same',
  )
  t.throws(typed2, { name: 'UnscopedStatementError' }, 'an update')
  t.throws(typed3, { name: 'UnscopedStatementError' }, 'a join')
  t.throws(typed4, { name: 'TypeError', message: 'no value for org_id' }, 'half an owner')
  t.end()
})

t.test('no name of the declaration stands in src/isolation', async (t) => {
  const folder = join(import.meta.dirname, '../../src/isolation')
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.\w+$/.test(name),
  )
  t.ok(files.includes(join('guard', 'guard.ts')))
  for (const file of files)
    t.notMatch(readFileSync(join(folder, file), 'utf8'), /user_id|taskward|\bapp\./, file)
})
