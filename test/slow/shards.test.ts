import pg from 'pg'
import t from 'tap'
import type { OwnedTable } from '../../src/isolation/index.ts'
import { isolation } from '../../src/tables.ts'
import { database, databaseUrl } from '../helper/database.ts'
import { scopeOf } from '../helper/sql.ts'
import { CHOSEN_VALUES, isByRank, TASK_VALUES, taskStatements } from '../helper/statements.ts'

const PARTITIONS = 8

interface Plan {
  'Relation Name'?: string
  Plans?: Plan[]
}

t.test(
  'every statement touches one partition of a table that is partitioned by user_id',
  { skip: !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL' },
  async (t) => {
    const scope = await scopeOf(await database(), 'user-7')
    // Those of export and erasure too, except for the one that names other tables.
    const { firstPage, nextPage, deleteNext } = isolation.tables.find(
      ({ name }) => name === 'tasks',
    ) as OwnedTable
    const statements = [...taskStatements(), firstPage, nextPage, deleteNext]
    const client = new pg.Client({ connectionString: await databaseUrl() })
    await client.connect()
    t.teardown(() => client.end())
    await client.query(`
      create type task_priority as enum ('low', 'medium', 'high');
      create table tasks (
        user_id text collate "C" not null, id bigserial, title text not null, description text,
        completed boolean not null default false, priority task_priority, due_at timestamptz,
        tags text[] not null default '{}', created_at timestamptz not null default now(),
        updated_at timestamptz not null default now(), version bigint not null default 1, primary key (user_id, id)
      ) partition by hash (user_id)`)
    for (let i = 0; i < PARTITIONS; i++) {
      await client.query(
        `create table tasks_${i} partition of tasks for values with (modulus ${PARTITIONS}, remainder ${i})`,
      )
    }
    await client.query(
      "insert into tasks (user_id, title) select 'user-' || n % 100, n::text from generate_series(1, 5000) n; analyze",
    )
    await client.query('set plan_cache_mode = force_custom_plan')

    t.ok(statements.length > 0, 'there are statements')
    for (const [statement, values] of statements.flatMap((statement) =>
      [TASK_VALUES, CHOSEN_VALUES].map((values) => {
        const first = isByRank(statement) && { id: null } // behind one without a rank is none with it
        return [statement, { ...values, ...first, after: 4_000 }] as const
      }),
    )) {
      const parameters = [...scope.bind(statement as never, values).parameters]
      const { rows } = await client.query({
        text: `explain (format json) ${statement.sql}`,
        values: parameters,
      })
      const touched = relations(rows[0]['QUERY PLAN'][0].Plan).filter((name) => name !== 'tasks')
      if (statement.sql.startsWith('insert')) {
        // The plan does not say where a row goes, but the row does.
        const { sql } = statement
        const inserted = await client.query(
          `${sql.slice(0, sql.indexOf('returning'))} returning tableoid::regclass::text as t`,
          parameters,
        )
        touched.push(...inserted.rows.map((row) => row.t))
      }
      t.equal(new Set(touched).size, 1, `${[...new Set(touched)].join(', ')}: ${statement.sql.slice(0, 70)}`)
    }
  },
)

function relations({ 'Relation Name': name, Plans = [] }: Plan): string[] {
  return [...(name ? [name] : []), ...Plans.flatMap(relations)]
}
