import {
  DummyDriver,
  expressionBuilder,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  sql,
} from 'kysely'
import fc from 'fast-check'
import pg from 'pg'
import t from 'tap'
import { openEmbedded } from '../../src/database/embedded.ts'
import { prove, UnscopedStatementError } from '../../src/isolation/index.ts'
import { databaseUrl } from '../helper/database.ts'

// Random statements: what the guard accepts must do, on a database of two users, exactly what it does on one where the
// other user never existed. No policy helps it here.

const RUNS = Number(process.env.GUARD_RUNS ?? 300)
const TIMEOUT = 100_000 + RUNS * 200
const SEED = Number(process.env.GUARD_SEED ?? 1)

const db = new Kysely<any>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
})
const me = { name: 'user_id' }
const DECLARATION = { owner: ['user_id'], owned: ['notes', 'tasks'], shared: ['countries'] }
const COLUMNS = ['id', 'user_id', 'title', 'n'] as const

// `countries` has a user_id too, which can be bound by mistake. Two users' tasks can have conflicting ids, notes
// cannot.
const SCHEMA = `
  create table notes (id int, user_id text, title text, n int, primary key (user_id, id));
  create table tasks (like notes including all, unique (id));
  create table countries (id int, user_id text, title text, n int);
  insert into notes select i, u, u || ' note ' || i, i % 3 from unnest('{alice,bob}'::text[]) u, generate_series(1, 3) i;
  insert into tasks select title_id, u, u || ' task ' || title_id, title_id % 2 from
    unnest('{alice,bob}'::text[]) with ordinality as v(u, k), lateral (select (k * 2 + i)::int as title_id from generate_series(0, 1) i) x;
  insert into countries values (1, 'alice', 'public 1', 1), (2, 'bob', 'public 2', 0), (3, null, 'public 3', 2);`
const USERS = ['alice', 'bob']

// How the user of a source is bound; the names of the bad ways say what is wrong with them.
const BINDINGS = [
  'where',
  'where',
  'nested',
  'reversed',
  'bare',
  'on',
  'on',
  'on column',
  'on column',
  'column',
  'in',
  'not distinct',
  'row',
] as const
const FLAWS = ['none', 'or', 'not', 'in or', 'other', 'unequal', 'literal', 'having', 'ambiguous'] as const
// Raw SQL is composed of these.
const SCRAPS = `
  true; n >= 0; title is not null; or; or true; 1=1or true; not; is not null; || title; between 0; n between 0; and 1; (;
  ); case when true; then true else true end; array[true; true]; order by n; order by; group by n, title; ,; '; ''; --;
  coalesce(; limit 1; any(`.split(/;\s+/)

interface Source {
  /** `reference` and `only` are tables in disguise. */
  table: 'notes' | 'tasks' | 'countries' | 'cte' | 'reference' | 'only' | Query
  join: 'innerJoin' | 'leftJoin' | 'rightJoin' | 'fullJoin' | 'crossJoin' | 'lateral'
  binding: (typeof BINDINGS | typeof FLAWS)[number]
}
interface Query {
  names: string[]
  sources: Source[]
  where: Condition[]
  pick: number
  shape: 'rows' | 'count' | 'titles' | 'window'
  union?: Query | undefined
  raw?: { scraps: string[]; first: boolean; end: boolean } | undefined
}
type Condition =
  | { is: 'leaf'; column: number; operator: string; other: number }
  | { is: 'and' | 'or'; parts: Condition[] }
  | { is: 'not'; part: Condition }
  | { is: 'exists' | 'in' | 'scalar'; query: Query }
type Target = Pick<Source, 'binding'> & {
  table: 'notes' | 'tasks'
  where: Condition[]
  using?: Source | undefined
}
type Command =
  | { is: 'select'; query: Query }
  | {
      is: 'insert'
      table: 'notes' | 'tasks'
      user: number
      rows: number[]
      from?: Query | undefined
      conflict: number
    }
  | { is: 'update'; target: Target; set: number; value: Query }
  | { is: 'delete'; target: Target }
interface Statement {
  cte?: { name: string; command: Command } | undefined
  command: Command
}

const owned = fc.constantFrom('notes' as const, 'tasks' as const)
const binding = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...BINDINGS) },
  { weight: 1, arbitrary: fc.constantFrom(...FLAWS) },
)
const index = fc.nat(2)
/** Absent in most cases. */
const maybe = <T>(arbitrary: fc.Arbitrary<T>, nothing: number) =>
  fc.oneof({ weight: nothing, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })

const { query, source, condition } = fc.letrec<{ query: Query; source: Source; condition: Condition }>(
  (tie) => ({
    source: fc.record({
      table: fc.oneof(
        { maxDepth: 2 },
        { weight: 16, arbitrary: fc.constantFrom('notes', 'tasks', 'countries', 'cte') },
        { weight: 1, arbitrary: fc.constantFrom('reference', 'only') },
        { weight: 4, arbitrary: tie('query') as fc.Arbitrary<Query> },
      ) as fc.Arbitrary<Source['table']>,
      join: fc.constantFrom(
        'innerJoin',
        'leftJoin',
        'leftJoin',
        'rightJoin',
        'fullJoin',
        'crossJoin',
        'lateral',
      ),
      binding,
    }),
    query: fc.record({
      names: fc.shuffledSubarray(['a', 'b', 'notes', 'tasks'], { minLength: 4 }),
      sources: fc.array(tie('source') as fc.Arbitrary<Source>, { minLength: 1, maxLength: 3, size: 'small' }),
      where: fc.array(tie('condition') as fc.Arbitrary<Condition>, { maxLength: 2, size: 'xsmall' }),
      pick: index,
      shape: fc.constantFrom('rows', 'rows', 'count', 'titles', 'window'),
      union: maybe(tie('query') as fc.Arbitrary<Query>, 7),
      raw: maybe(
        fc.record({
          scraps: fc.array(fc.constantFrom(...SCRAPS), { minLength: 1, maxLength: 3 }),
          first: fc.boolean(),
          end: fc.boolean(),
        }),
        6,
      ),
    }),
    condition: fc.oneof(
      { maxDepth: 3, depthSize: 'small' },
      {
        weight: 5,
        arbitrary: fc.record({
          is: fc.constant('leaf'),
          column: fc.nat(3),
          operator: fc.constantFrom('=', '<>', '>', 'is not distinct from'),
          other: index,
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          is: fc.constantFrom('and', 'or'),
          parts: fc.array(tie('condition') as fc.Arbitrary<Condition>, {
            minLength: 1,
            maxLength: 3,
            size: 'xsmall',
          }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ is: fc.constant('not'), part: tie('condition') }) },
      {
        weight: 2,
        arbitrary: fc.record({ is: fc.constantFrom('exists', 'in', 'scalar'), query: tie('query') }),
      },
    ) as fc.Arbitrary<Condition>,
  }),
)
const target = fc.record({
  table: owned,
  binding,
  where: fc.array(condition, { maxLength: 1 }),
  using: maybe(source, 1),
})
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ is: fc.constant('select' as const), query }) },
  {
    weight: 2,
    arbitrary: fc.record({
      is: fc.constant('insert' as const),
      table: owned,
      user: fc.nat(9),
      rows: fc.array(fc.nat(7), { minLength: 1, maxLength: 3 }),
      from: maybe(query, 1),
      conflict: fc.nat(6),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ is: fc.constant('update' as const), target, set: fc.nat(9), value: query }),
  },
  { weight: 2, arbitrary: fc.record({ is: fc.constant('delete' as const), target }) },
)
const statement: fc.Arbitrary<Statement> = fc.record({
  cte: maybe(fc.record({ name: fc.constantFrom('cte', 'cte', 'cte', 'cte', 'notes'), command }), 3),
  command,
})

// Turns these into Kysely queries, typed as any: only the database judges them.

function bind(
  q: any,
  { binding }: { binding: Source['binding'] },
  name: string,
  others: readonly string[],
): any {
  const column = `${name}.user_id`
  const isMe = (eb: any) => eb(column, '=', me)
  switch (binding) {
    case 'where':
      return q.where(isMe)
    case 'nested':
      return q.where((eb: any) => eb.and([eb.and([eb(`${name}.n`, '>=', 0), isMe(eb)]), isMe(eb)]))
    case 'reversed':
      return q.where((eb: any) => eb(eb.val(me), '=', eb.ref(column)))
    case 'bare':
      return q.where(others.length === 0 ? 'user_id' : column, '=', me)
    case 'in':
      return q.where(column, 'in', [me])
    case 'not distinct':
      return q.where(column, 'is not distinct from', me)
    case 'row':
      return q.where((eb: any) => eb(eb.refTuple(column, `${name}.n`), '=', eb.tuple(me, 1)))
    case 'ambiguous':
      return q.where('user_id', '=', me)
    case 'or':
      return q.where((eb: any) => eb.or([isMe(eb), eb(`${name}.n`, '>', 0)]))
    case 'in or':
      return q.where((eb: any) => eb.and([eb.or([eb.and([isMe(eb), isMe(eb)]), eb(`${name}.n`, '=', 0)])]))
    case 'not':
      return q.where((eb: any) => eb.not(isMe(eb)))
    case 'other':
      return q.where(`${others[0] ?? 'countries'}.user_id`, '=', me)
    case 'unequal':
      return q.where(column, '>=', me)
    case 'column':
      return q.whereRef(column, '=', `${others[0] ?? name}.user_id`)
    case 'literal':
      return q.where(column, '=', 'bob')
    case 'having':
      return q.having ? q.groupBy(column).having(column, '=', me) : q
    default:
      return q
  }
}

function makeCondition(eb: any, condition: Condition, names: readonly string[]): any {
  const name = (i: number) => names[i % names.length]
  switch (condition.is) {
    case 'leaf': {
      const column = COLUMNS[condition.column]
      const value =
        condition.other === 2 ? eb.ref(`${name(1)}.${column}`) : eb.cast(eb.lit(condition.other), 'text')
      return eb(
        eb.cast(`${name(condition.other)}.${column}`, 'text'),
        condition.operator,
        eb.cast(value, 'text'),
      )
    }
    case 'and':
    case 'or':
      return eb[condition.is](condition.parts.map((part) => makeCondition(eb, part, names)))
    case 'not':
      return eb.not(makeCondition(eb, condition.part, names))
    case 'exists':
      return eb.exists(makeQuery(condition.query, names))
    case 'in':
      return eb(
        `${name(0)}.id`,
        'in',
        db.selectFrom(makeQuery(condition.query, names).as('q')).select('q.id'),
      )
    case 'scalar':
      return eb(`${name(0)}.n`, '<', countOf(condition.query, names))
  }
}

const countOf = (query: Query, outer: readonly string[]): any =>
  db.selectFrom(makeQuery(query, outer).as('q')).select((eb) => eb.fn.countAll().as('count'))

function sourceOf({ table }: Source, name: string, outer: readonly string[]): any {
  if (table === 'reference') return expressionBuilder<any, any>().ref('tasks').as(name)
  if (table === 'only') return expressionBuilder<any, any>().fn('only', ['tasks']).as(name)
  return typeof table === 'string' ? `${table} as ${name}` : makeQuery(table, outer).as(name)
}

/** A query of the four columns; the outermost also selects each source's whole row. */
function makeQuery(query: Query, outer: readonly string[] = [], top = false): any {
  const [first, ...joined] = query.sources as [Source, ...Source[]]
  const names = query.names.slice(0, query.sources.length)
  const visible = [...names, ...outer]
  const [name = ''] = names
  let q: any = db.selectFrom(sourceOf(first, name, outer))
  const raw = query.raw && sql<boolean>`${sql.raw(query.raw.scraps.join(' '))}`
  if (raw && query.raw?.first) q = q.where(raw)
  for (const [i, source] of joined.entries()) {
    const [alias, before] = [names[i + 1] as string, names[i] as string]
    const table = sourceOf(source, alias, outer)
    const on = (join: any) => {
      const plain = join.on((eb: any) => eb(`${alias}.n`, '<=', eb.ref(`${before}.n`)))
      if (source.binding === 'on column') return plain.onRef(`${alias}.user_id`, '=', `${before}.user_id`)
      return source.binding === 'on' ? plain.on(`${alias}.user_id`, '=', me) : plain
    }
    if (source.join === 'crossJoin') q = q.crossJoin(table)
    else if (source.join === 'lateral' && typeof source.table !== 'string')
      q = q.leftJoinLateral(makeQuery(source.table, [...names.slice(0, i + 1), ...outer]).as(alias), on)
    else q = q[source.join === 'lateral' ? 'innerJoin' : source.join](table, on)
  }
  for (const [i, source] of query.sources.entries()) {
    const bound = i === 0 && source.binding.startsWith('on') ? { binding: 'where' as const } : source
    if (typeof source.table !== 'string' || ['notes', 'tasks'].includes(source.table)) {
      q = bind(q, bound, names[i] as string, names.toSpliced(i, 1))
    }
  }
  for (const condition of query.where) q = q.where((eb: any) => makeCondition(eb, condition, visible))
  if (raw && !query.raw?.first) q = query.raw?.end ? q.modifyEnd(raw) : q.where(raw)

  const picked = names[query.pick % names.length] as string
  if (query.shape === 'rows') {
    q = q.select(COLUMNS.map((column) => `${picked}.${column}`))
    if (top && !query.union)
      q = q.select(({ fn }: any) => names.map((name, i) => fn.toJson(name).as(`row${i}`)))
  } else {
    const counted = (eb: any) =>
      query.shape === 'window' ? eb.fn.countAll().over() : eb.fn.count(`${picked}.id`)
    const titles = (eb: any) =>
      eb.fn.agg('string_agg', [`${picked}.title`, sql.lit(',')]).orderBy(`${picked}.title`)
    q = q.select((eb: any) => [
      eb.cast(counted(eb), 'int4').as('id'),
      eb.cast(eb.lit(null), 'text').as('user_id'),
      (query.shape === 'titles' ? titles(eb) : eb.cast(eb.lit(null), 'text')).as('title'),
      eb.lit(0).as('n'),
    ])
  }
  return query.union ? q.unionAll(makeQuery(query.union, outer)) : q
}

function makeTarget(q: any, { table, binding, where, using }: Target, add: 'from' | 'using'): any {
  const names = using ? [table, 'x'] : [table]
  if (using) {
    q = q[add](sourceOf(using, 'x', []))
    if (typeof using.table !== 'string' || using.table !== 'countries') q = bind(q, using, 'x', [table])
  }
  q = bind(q, { binding: binding.startsWith('on') ? 'where' : binding }, table, using ? ['x'] : [])
  for (const condition of where) q = q.where((eb: any) => makeCondition(eb, condition, names))
  return q.returning(COLUMNS.map((column) => `${table}.${column}`))
}

const unique = (c: any, table: string) => c.columns(table === 'tasks' ? ['id'] : ['user_id', 'id'])
const CONFLICTS: ((c: any, table: string) => any)[] = [
  (c) => c.columns(['user_id', 'id']).doUpdateSet({ title: 'changed' }),
  (c) => c.columns(['user_id', 'id']).doNothing(),
  (c, table) => unique(c, table).doUpdateSet({ title: 'changed' }).where(`${table}.user_id`, '=', me),
  (c, table) => unique(c, table).doUpdateSet({ title: 'taken' }),
  (c, table) => unique(c, table).doUpdateSet((eb: any) => ({ user_id: eb.ref('excluded.user_id') })),
]

function makeCommand(command: Command, start: any, top = false): any {
  if (command.is === 'select') return makeQuery(command.query, [], top)
  if (command.is === 'delete')
    return makeTarget(start.deleteFrom(command.target.table), command.target, 'using')
  if (command.is === 'update') {
    const { target, set, value } = command
    const values = { title: 'set', n: countOf(value, []), ...(set === 0 && { user_id: 'bob' }) }
    return makeTarget(start.updateTable(target.table).set(values), target, 'from')
  }
  const { table, user, rows, from, conflict } = command
  let q = start.insertInto(table)
  if (from) {
    const select = db.selectFrom(makeQuery(from).as('q')).distinct()
    const owner = (eb: any) => (user === 0 ? eb.ref('q.user_id') : eb.cast(eb.val(me), 'text'))
    q = q
      .columns(COLUMNS)
      .expression(
        select.select((eb: any) => [eb('q.id', '+', 4).as('id'), owner(eb).as('u'), 'q.title', 'q.n']),
      )
  } else {
    const value = (id: number, i: number) => ({ id, user_id: user === i ? 'bob' : me, title: 'new', n: 1 })
    q = q.values(rows.map((id, i) => (user === 9 ? { id } : value(id, i))))
  }
  const onConflict = CONFLICTS[conflict]
  return (onConflict ? q.onConflict((c: any) => onConflict(c, table)) : q).returning(COLUMNS)
}

function make({ cte, command }: Statement) {
  let start: any = db
  // A CTE that shadows a table is added to the one that the queries name.
  if (cte?.name !== 'cte') start = start.with('cte', (db: any) => db.selectFrom('countries').selectAll())
  if (cte) start = start.with(cte.name, (db: any) => makeCommand(cte.command, db))
  if (command.is !== 'select') return makeCommand(command, start, true).compile()
  // The CTE must be on the outermost select.
  return start
    .selectFrom(makeCommand(command, db, true).as('top'))
    .selectAll()
    .compile()
}

interface Outcome {
  error?: string
  rows?: string[]
  /** Every row of all tables after the statement. */
  state?: string[]
}

const otherThan = (user: string) => USERS.find((other) => other !== user) as string

t.setTimeout(TIMEOUT)
t.test('what the guard accepts affects only one user', { timeout: TIMEOUT }, async (t) => {
  const url = await databaseUrl()
  const embedded = url.startsWith('pglite:') ? await openEmbedded(url.slice('pglite:'.length)) : undefined
  const pool = new pg.Pool(embedded ? embedded.config : { connectionString: url })
  const client = await pool.connect()
  t.teardown(async () => {
    client.release()
    await pool.end()
    await embedded?.close()
  })
  await client.query(SCHEMA)

  async function run(
    text: string,
    values: readonly unknown[],
    user: string,
    alone: boolean,
  ): Promise<Outcome> {
    const other = otherThan(user)
    const leave = `delete from notes where user_id = '${other}'; delete from tasks where user_id = '${other}'`
    await client.query(alone ? `begin; ${leave}` : 'begin')
    try {
      const { rows } = await client.query(
        text,
        values.map((value) => (value === me ? user : value)),
      )
      const all = await client.query(
        `select to_json(x)::text as row from (select 'notes' as t, * from notes union all select 'tasks', * from tasks union all select 'countries', * from countries) x`,
      )
      return {
        rows: rows.map((row) => JSON.stringify(row)).toSorted(),
        state: all.rows.map(({ row }) => row).toSorted(),
      }
    } catch (error) {
      return { error: String((error as { code?: string }).code) }
    } finally {
      await client.query('rollback')
    }
  }

  const before = (await run('select 1', [], 'alice', false)).state as string[]
  const figures = { accepted: 0, refused: 0, 'accepted and run': 0, 'refused and run': 0, 'refused leaks': 0 }
  const property = fc.asyncProperty(statement, async (described) => {
    const { sql, parameters } = make(described)
    const accepted = accepts(sql, parameters)
    figures[accepted ? 'accepted' : 'refused'] += 1
    const leaks: string[] = []
    let ran = false
    for (const user of USERS) {
      const both = await run(sql, parameters, user, false)
      ran ||= !both.error
      // Refused statements are only counted.
      if (both.error && !accepted) break
      leaks.push(...leaksOf(user, both, await run(sql, parameters, user, true), sql))
    }
    if (ran) figures[accepted ? 'accepted and run' : 'refused and run'] += 1
    if (accepted && leaks.length > 0) throw new Error(`${leaks.join('; ')} in: ${sql}`)
    if (leaks.length > 0) figures['refused leaks'] += 1
  })

  function leaksOf(user: string, both: Outcome, alone: Outcome, sql: string): string[] {
    // An insert shows whether another user's task has an id, as long as ids are unique across users.
    const conflicts = sql.includes('insert into "tasks"')
    if (both.error || alone.error) {
      return both.error === alone.error || conflicts ? [] : [`${user}: ${both.error} is not ${alone.error}`]
    }
    const other = otherThan(user)
    const leaks: string[] = []
    const { rows = [], state = [] } = both
    const seen = rows.find((row) => row.includes(`${other} note`) || row.includes(`${other} task`))
    if (seen) leaks.push(`${user} sees ${seen}`)
    const isForeign = (row: string) => row.includes(`"user_id":"${other}"`) && !row.includes('countries')
    const foreign = state.filter(isForeign).join('\n')
    if (foreign !== before.filter(isForeign).join('\n')) leaks.push(`${user} changes ${foreign}`)
    const differs = (a: string[], b: string[] = []) => !conflicts && a.join('\n') !== b.join('\n')
    if (differs(rows, alone.rows)) leaks.push(`${user} gets ${rows}, alone ${alone.rows}`)
    const rest = (rows?: string[]) => rows?.filter((row) => !isForeign(row)) ?? []
    if (differs(rest(state), rest(alone.state))) leaks.push(`${user} leaves other rows than it does alone`)
    return leaks
  }

  t.comment(`GUARD_SEED=${SEED} GUARD_RUNS=${RUNS}`)
  await fc.assert(property, { numRuns: RUNS, seed: SEED })
  t.comment(JSON.stringify(figures))
  t.ok(figures['accepted and run'] > RUNS / 5, 'many statements are accepted and run')
  t.ok(figures['refused leaks'] > RUNS / 50, 'some of those refused would have leaked')
})

function accepts(sql: string, parameters: readonly unknown[]): boolean {
  try {
    const places = parameters.map((parameter) => (parameter === me ? 'user_id' : undefined))
    prove(sql, DECLARATION, places, 'owner')
    return true
  } catch (error) {
    if (error instanceof UnscopedStatementError) return false
    throw error
  }
}
