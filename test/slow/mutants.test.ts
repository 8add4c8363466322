import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { CompiledQuery, sql } from 'kysely'
import tap from 'tap'
import { connect, type Database } from '../../src/database/index.ts'
import { prove, ScopedStatement, type Statement } from '../../src/isolation/index.ts'
import { readinessOf } from '../../src/migrations/index.ts'
import { isolation } from '../../src/tables.ts'
import { build, identity } from '../helper/app.ts'
import { migratedUrl } from '../helper/database.ts'
import { CITUS } from '../helper/template.ts'
import { asRole, rolledBack, runAll, scopeOf } from '../helper/sql.ts'
import { allStatements, TASK_VALUES, taskStatements } from '../helper/statements.ts'
import { CATALOG_MUTANTS } from '../isolation/catalog-faults.ts'
import { walkRoutes } from '../isolation/route-walker.ts'
import { behindProxy, FAULTS, faulty, SPLITTING } from '../isolation/wire-faults.ts'

// Breaks the walls one at a time, and shows what finds it. `npm run mutants` prints the table.
//
// - Each condition on user_id is taken out of each statement: each wall stops what is left when the walls before it are
//   gone; with all three gone the route walker must see the leak.
// - The catalog is changed, so that a policy no longer protects what it should.
// - A server, or a pooler in front of it, answers what was not asked, or loses the settings.

const table: [what: string, mutant: string, foundBy: string][] = []
tap.teardown(() => {
  const lines = [['What is broken', 'How', 'Found by'], ['---', '---', '---'], ...table]
  const file = resolve(import.meta.dirname, '../../.tap/mutants.md')
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, lines.map((cells) => `| ${cells.join(' | ')} |\n`).join(''))
})

type AnyStatement = Statement<any, unknown, 'owner'>

interface Mutant {
  statement: AnyStatement
  /** The statement without one of its conditions. */
  sql: string
}

const isInsert = ({ sql }: AnyStatement) => sql.startsWith('insert')

// The parameter stays, so that PostgreSQL knows its type.
const CONDITION = /"\w+"\."user_id" = (\$\d+)/g
const WRITTEN = /(?<=values \((?:\$\d+, )*)\$\d+(?=\))|(?<=select )\$\d+/g

const mutantsOf = (statement: AnyStatement): Mutant[] =>
  [
    ...[...statement.sql.matchAll(CONDITION)].map(
      (match) => [match, `${match[1]}::text is not null`] as const,
    ),
    ...[...statement.sql.matchAll(WRITTEN)].map(
      (match) => [match, `coalesce('owner', ${match[0]}::text)`] as const,
    ),
  ].map(([{ 0: part, index, input }, instead]) => ({
    statement,
    sql: `${input.slice(0, index)}${instead}${input.slice(index + part.length)}`,
  }))

const mutants = () => taskStatements().flatMap(mutantsOf)

/** Those of idempotency, export and erasure. */
const otherStatements = () => allStatements().filter((statement) => !taskStatements().includes(statement))

/** What stands for the owner among the parameters: those that change with the owner. */
async function ownersIn(db: Database, statement: AnyStatement): Promise<(string | undefined)[]> {
  const [ada, bob] = [await scopeOf(db, 'ada'), await scopeOf(db, 'bob')]
  const other = bob.bind(statement, {}).parameters
  return ada.bind(statement, {}).parameters.map((value, i) => (value === other[i] ? undefined : 'user_id'))
}

tap.test('with a user_id condition taken out', async (t) => {
  const url = await migratedUrl()
  const verdicts: { sql: string; guard: string; database?: string; walker?: string }[] = []
  let db = await connect({ url })
  await build(t, { database: db })
  t.ok(
    allStatements().every((statement) => mutantsOf(statement).length > 0),
    'every statement has a condition to take out',
  )

  await t.test('the guard refuses it', async (t) => {
    for (const { statement, sql } of [...mutants(), ...otherStatements().flatMap(mutantsOf)]) {
      const owners = await ownersIn(db, statement)
      t.ok(
        prove(statement.sql, isolation.declaration, owners, 'owner'),
        `as it is, it is proved: ${statement.sql}`,
      )
      t.throws(
        () => prove(sql, isolation.declaration, owners, 'owner'),
        { name: 'UnscopedStatementError' },
        sql,
      )
      verdicts.push({ sql: briefly(sql), guard: 'guard' })
    }
  })

  await t.test('without the guard, row-level security gives nothing', async (t) => {
    const [row] = await asRole(
      db,
      { user: 'owner' },
      "insert into tasks (user_id, title) values ('owner', 'owner''s') returning id",
    )
    const values = { ...TASK_VALUES, id: Number(row?.id) }
    const read = async () =>
      JSON.stringify(await asRole(db, { user: 'owner' }, 'select * from tasks order by id'))
    const before = await read()
    const stranger = await scopeOf(db, 'stranger')
    for (const [i, mutant] of mutants().entries()) {
      const broken = withMutant(db, mutant)
      const rows = await broken.run([stranger.bind(mutant.statement, values)]).catch(() => 'an error')
      t.notMatch(JSON.stringify(rows), /owner|"(total|count)":"?[^0"]/, mutant.sql)
      t.equal(await read(), before, 'nothing of the owner changed')
      Object.assign(verdicts[i] as object, {
        database: rows === 'an error' ? 'policy (error)' : 'policy (no row)',
      })
    }
  })
  await db.close()

  await t.test('without both, the route walker sees it', async (t) => {
    db = await connect({ url, rls: false })
    for (const [i, mutant] of mutants().entries()) {
      // An insert for another user shows the stranger nothing.
      if (isInsert(mutant.statement)) continue
      await db.asLogin((login) => sql`delete from tasks`.execute(login)) // what is new is on the first page
      const app = await build(t, { database: withMutant(db, mutant) })
      const [owner, stranger] = await Promise.all([identity(), identity()])
      const document = withoutAliases(app.swagger())
      const { findings } = await walkRoutes({ app, document, owner, stranger, enough: 1 })
      t.ok(findings.length > 0, `seen by ${findings[0]}`)
      Object.assign(verdicts[i] as object, { walker: 'route walker' })
    }
    await db.close()
  })

  for (const { sql, guard, database, walker } of verdicts) {
    const foundBy = [guard, database, walker].filter(Boolean).join(', without it: ')
    table.push(['a statement', `\`${sql}\``, foundBy])
  }
})

tap.test('with a catalog that is not as declared', async (t) => {
  const db = await connect({ url: await migratedUrl() })
  t.teardown(() => db.close())
  for (const [what, { found, sql: text }] of Object.entries(CATALOG_MUTANTS)) {
    // Roles belong to the whole cluster: nothing of it is kept.
    const faults = await rolledBack(db, async (trx) => {
      await runAll(trx, text)
      return isolation.compareCatalog(trx, true)
    }).catch((error) => {
      if (CITUS && (error.code === '0A000' || /distributed/.test(error.message))) return undefined
      throw error
    })
    if (!faults) {
      t.pass(`Citus does not let it happen: ${what}`)
      continue
    }
    const fault = faults.find((one) => one.fault.includes(found))
    t.match(fault, { kind: /^(isolation|undeclared)$/ }, what)
    table.push(['the catalog', what, `/ready and doctor: ${fault?.fault}`])
  }
})

tap.test(
  'with a wire that gives the answers of others',
  { skip: !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL' },
  async (t) => {
    const url = await migratedUrl()
    for (const [what, fault] of FAULTS) {
      const foundBy = new Set<string>()
      for (const prepare of [true, false]) {
        let armed = false
        const wire = faulty(fault(), () => armed)
        const { db } = await behindProxy(t, url, wire, { prepare })
        await db.run(isolation.probes.slice(0, 1))
        armed = true
        const error = await db.run(isolation.probes.slice(0, 1)).catch((error) => error)
        t.match(error, { name: 'ForeignAnswerError' }, what)
        foundBy.add(`batch: ${error.message?.split(', sent ')[1]}`)
      }
      table.push(['an answer', what, [...foundBy].join('; ')])
    }
    for (const [what, splitting] of Object.entries(SPLITTING)) {
      for (const prepare of [true, false]) {
        const { db } = await behindProxy(t, url, splitting, { prepare })
        await t.rejects(readinessOf(db)(), { name: 'ForeignAnswerError' }, `${what}: not ready`)
        await t.rejects(db.run(isolation.probes), { name: 'ForeignAnswerError' }, `${what}: no answer`)
      }
      const foundBy = '/ready; the first batch of a connection, with DATABASE_PREPARE=off each'
      table.push(['settings lost', what, foundBy])
    }
  },
)

tap.test(
  'docs/isolation.md has this table',
  { skip: !process.env.TEST_DATABASE_URL || CITUS !== undefined },
  async (t) => {
    const docs = readFileSync(resolve(import.meta.dirname, '../../docs/isolation.md'), 'utf8')
    const [, section = ''] = /\n## Mutants\n(.*?)\n## /s.exec(docs) ?? []
    const rows = [...section.matchAll(/^\| (.*?) *\|$/gm)].map(([, cells = '']) => cells.split(/ +\| +/))
    t.same(rows.slice(2), table, 'npm run mutants prints it')
  },
)

/** On one line of the table, without what says nothing of the owner: columns, filters, the position, the fields. */
const briefly = (text: string) =>
  text
    .replaceAll(/\s+/g, ' ')
    .trim()
    .replaceAll('"', '')
    .replaceAll('tasks.', '')
    .replace(/^select id, .*? from/, 'select … from')
    .replace(/\(\(\$\d+::\w+ is null or .*? = any\(\$\d+\)\)\)/, '(filters)')
    .replace(/\(\$\d+::bigint is null or case .*? end\)/, '(position)')
    .replaceAll(/case when '\w+' = any.*? end(?=,)/g, '…')
    .replaceAll(/ returning [^()]*/g, ' returning …')

/** The database with one statement replaced: run as the service does, but by hand, since nothing unproved can be run. */
function withMutant(db: Database, { statement, sql }: Mutant): Database {
  const options = { nonce: 'mutant', timeout: 5000, rls: db.rls, seal: false, citus: CITUS !== undefined }
  const run: Database['run'] = (scoped) => {
    if (!scoped.some((one) => one.sql === statement.sql)) return db.run(scoped)
    return db.asLogin((login) =>
      login.transaction().execute(async (trx) => {
        const rows: unknown[][] = []
        for (const one of scoped) {
          for (const sent of ScopedStatement.onTheWire(one, options)) {
            const text = sent.sql === statement.sql ? sql : sent.sql
            const made = await trx.executeQuery(CompiledQuery.raw(text, [...sent.parameters]))
            if (sent === one) rows.push(made.rows)
          }
        }
        return rows
      }),
    )
  }
  return { ...db, run }
}

/** One of the mounts of the task handlers is enough here. */
function withoutAliases(document: { paths?: object }): object {
  const paths = Object.entries(document.paths ?? {}).filter(([path]) => /^\/(todos|me)/.test(path))
  return { ...document, paths: Object.fromEntries(paths) }
}
