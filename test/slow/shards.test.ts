import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import t from 'tap'
import { connect } from '../../src/database/index.ts'
import { diagnose } from '../../src/migrations/index.ts'
import { isolation } from '../../src/tables.ts'
import { build, identity } from '../helper/app.ts'
import { migratedUrl } from '../helper/database.ts'
import { scopeOf } from '../helper/sql.ts'
import { allStatements, variantsOf } from '../helper/statements.ts'

const DOCUMENT = readFileSync(join(import.meta.dirname, '../../docs/scaling.md'), 'utf8')
/** How docs/scaling.md partitions `tasks`. */
const RECIPE = /```sql\n(begin;.*?)```/s.exec(DOCUMENT)?.[1] ?? ''
const KEYS_RECIPE = RECIPE.replaceAll(/^.*tasks_ids.*\n/gm, '').replaceAll(/\btasks/g, 'idempotency_keys')

/** Other tables are not partitioned here. */
const others = isolation.declaration.owned.filter((table) => !['tasks', 'idempotency_keys'].includes(table))
const statements = allStatements().filter(({ sql }) => !others.some((table) => sql.includes(table)))

interface Plan {
  'Relation Name'?: string
  Plans?: Plan[]
}

t.test(
  'a database in use is partitioned by user_id',
  { skip: !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL' },
  async (t) => {
    const url = await migratedUrl()
    const db = await connect({ url })
    t.teardown(() => db.close())
    const app = await build(t, { database: db })
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    t.teardown(() => client.end())
    await client.query(
      "insert into tasks (user_id, title) select 'user-' || n % 100, n::text from generate_series(1, 5000) n",
    )
    const [ada, bob] = [await identity('ada'), await identity('bob')]
    const create = async ({ headers }: typeof ada, title: string) => {
      const payload = { title, priority: 'high', tags: ['home'] }
      const answer = await app.inject({ method: 'POST', url: '/todos', headers, payload })
      t.equal(answer.statusCode, 201, answer.body)
      return answer.json()
    }
    const titles = async ({ headers }: typeof ada) =>
      (await app.inject({ url: '/todos', headers })).json().map(({ title }: { title: string }) => title)
    await create(ada, 'before')
    const { id: deleted } = await create(ada, 'deleted')
    await app.inject({ method: 'DELETE', url: `/todos/${deleted}`, headers: ada.headers })

    await client.query(RECIPE)
    await client.query(KEYS_RECIPE)

    await t.test('and the service goes on', async (t) => {
      t.same(await diagnose(db), [], 'doctor finds nothing')
      t.equal((await app.inject('/ready')).statusCode, 200, '/ready')
      const after = await create(ada, 'after')
      t.equal(after.id, deleted + 1, 'ids go on, and none comes twice')
      await create(bob, 'of bob')
      t.same(await titles(ada), ['after', 'before'])
      t.same(await titles(bob), ['of bob'])
      const foreign = { url: `/todos/${after.id}`, headers: bob.headers }
      t.equal((await app.inject(foreign)).statusCode, 404, 'nobody reads the task of another')
      t.equal((await app.inject({ ...foreign, method: 'DELETE' })).statusCode, 404)
      const once = {
        method: 'POST',
        url: '/todos',
        headers: { ...bob.headers, 'idempotency-key': 'k' },
        payload: { title: 'once' },
      } as const
      const [first, second] = [await app.inject(once), await app.inject(once)]
      t.equal(first.statusCode, 201)
      t.equal(second.json().id, first.json().id, 'a key makes one row')
      const overlong = client.query("insert into tasks (user_id, title) values ('ada', repeat('x', 256))")
      await t.rejects(overlong, { code: '23514' }, 'the checks are there')
    })

    await t.test('and doctor and /ready find a sequence that the role may not use', async (t) => {
      await client.query('revoke usage on sequence tasks_ids from taskward_user')
      const [fault = '', ...more] = await diagnose(db)
      const { statusCode, body } = await (await build(t, { database: db })).inject('/ready')
      t.match([statusCode, JSON.parse(body).code, more], [503, 'role_missing', []])
      await client.query(/must run: (.*)/.exec(fault)?.[1] ?? '')
      t.same(await diagnose(db), [], fault)
    })

    await t.test('and every statement touches one partition of a table', async (t) => {
      const scope = await scopeOf(db, 'user-7')
      await client.query('set plan_cache_mode = force_custom_plan')
      for (const statement of statements) {
        for (const [variant, values] of variantsOf(statement)) {
          const { sql: text } = statement
          const parameters = [...scope.bind(statement, { ...values, after: 4_000 }).parameters]
          const { rows } = await client.query(`explain (format json) ${text}`, parameters)
          const plan = rows[0]['QUERY PLAN'][0].Plan
          if (JSON.stringify(plan).includes('"One-Time Filter":"false"')) continue // it reads nothing
          const touched = relations(plan).filter((name) => /_\d$/.test(name))
          // The plan does not say where a row goes, but the row does.
          if (text.includes('insert into')) touched.push(...(await written(client, text, parameters)))
          const partitions = [...new Set(touched)]
          const tables = new Set(partitions.map((name) => name.replace(/_\d$/, '')))
          const name = `${variant}, ${partitions.join(', ')}: ${text.slice(0, 70)}`
          t.ok(partitions.length > 0 && partitions.length === tables.size, name)
        }
      }
    })

    await t.test('and an account is exported and erased', async (t) => {
      const { body } = await app.inject({ url: '/me/export', headers: bob.headers })
      t.equal(JSON.parse(body).tasks.length, 2)
      const erased = await app.inject({ method: 'DELETE', url: '/me', headers: bob.headers })
      t.equal(erased.statusCode, 200)
      t.same([await titles(bob), await titles(ada)], [[], ['after', 'before']])
    })
  },
)

function relations({ 'Relation Name': name, Plans = [] }: Plan): string[] {
  return [...(name ? [name] : []), ...Plans.flatMap(relations)]
}

/** Runs a statement, without its effect; returns the partitions that its rows went to. */
async function written(client: pg.Client, text: string, parameters: unknown[]): Promise<string[]> {
  await client.query('begin')
  try {
    await client.query(text, parameters)
    const rows = ['tasks', 'idempotency_keys'].map(
      (table) =>
        `select tableoid::regclass::text as name from ${table} where xmin::text = txid_current()::text`,
    )
    return (await client.query(rows.join(' union '))).rows.map(({ name }) => name)
  } finally {
    await client.query('rollback')
  }
}
