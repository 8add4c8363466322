import {
  BinaryOperationNode,
  type Compilable,
  DummyDriver,
  Kysely,
  OperatorNode,
  OrNode,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  RawNode,
  sql,
} from 'kysely'
import { jsonArrayFrom, jsonObjectFrom } from 'kysely/helpers/postgres'

// `notes` and `tasks` are user-owned, `countries` is not. Statements are written without types, as an attacker would.
const db = new Kysely<any>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
})
/** Placeholder for the owner. */
export const me = { name: 'user_id' }
const you = { name: 'user_id' }
const { ref, table, id, lit, raw, join } = sql

const tasks = db.selectFrom('tasks').where('tasks.user_id', '=', me)
const notes = db.selectFrom('notes').where('notes.user_id', '=', me)
const countries = db.selectFrom('countries')
const all = db.selectFrom('tasks')
const change = db.updateTable('tasks').set({ title: 'x' })
const add = db.insertInto('tasks')
const row = { user_id: me, id: 1, title: 'x' }
const into = add.columns(['title', 'user_id', 'description'])
const merge = db
  .mergeInto('tasks as t')
  .using('countries as c', (on) => on.onRef('c.name', '=', 't.title').on('t.user_id', '=', me))
const clause = (sqlText: string) => tasks.where(raw<boolean>(sqlText))
const node = (made: object) => ({ toOperationNode: () => made, expressionType: undefined }) as any

type Cases = Record<string, () => Compilable<any>>
const each = (texts: string[], made: (text: string) => [string, Cases[string]]): Cases =>
  Object.fromEntries(texts.map(made))

export const ACCEPTED: Cases = {
  'a select': () => tasks.selectAll(),
  'unqualified, with a single table': () => all.selectAll().where('user_id', '=', me),
  'the user first': () => all.where((eb) => eb(eb.val(me), '=', eb.ref('tasks.user_id'))),
  'an alias': () => db.selectFrom('tasks as t').where('t.user_id', '=', me),
  "an alias that is another table's name": () =>
    db.selectFrom('tasks as notes').where('notes.user_id', '=', me),
  'a schema': () => db.withSchema('app').selectFrom('tasks').where('tasks.user_id', '=', me),
  'a schema and an alias': () => db.selectFrom('app.tasks as t').where('t.user_id', '=', me),
  'eb.and of an object': () => all.where((eb) => eb.and({ 'tasks.user_id': me, id: 1 })),
  'among other conditions': () => tasks.where((eb) => eb.or([eb('id', '=', 1), eb.not(eb('id', '=', 2))])),
  'a cast that tells users apart': () => all.where('user_id', '=', (eb: any) => eb.cast(eb.val(me), 'text')),
  '$if that holds': () => all.$if(true, (q) => q.where('user_id', '=', me)),
  'two tables': () =>
    db.selectFrom(['tasks', 'notes']).where('tasks.user_id', '=', me).where('notes.user_id', '=', me),
  'a join bound in its ON': () => tasks.innerJoin('notes as n', (on) => on.on('n.user_id', '=', me)),
  'a left join bound in its ON': () =>
    countries.leftJoin('tasks as t', (on) => on.on('t.user_id', '=', me).onTrue()),
  'a right join bound in WHERE': () =>
    countries.rightJoin('tasks as t', 't.title', 'name').where('t.user_id', '=', me),
  'a full join of a sub-query': () => countries.fullJoin(tasks.selectAll().as('t'), 't.title', 'name'),
  'a cross join': () => tasks.crossJoin('countries'),
  lateral: () =>
    tasks.leftJoinLateral(notes.whereRef('notes.id', '=', 'tasks.id').as('n'), (on) => on.onTrue()),
  'a sub-query': () => db.selectFrom(tasks.selectAll().as('t')).selectAll(),
  'a scalar sub-query': () => tasks.select([notes.select('id').limit(1).as('n')]),
  'in a sub-query': () => tasks.where('id', 'in', notes.select('id')),
  exists: () => tasks.where((eb) => eb.exists(notes.select('id'))),
  'not exists': () => tasks.where((eb) => eb.not(eb.exists(notes.select('id')))),
  'a CTE': () =>
    db
      .with('mine', () => tasks.selectAll())
      .selectFrom('mine')
      .selectAll(),
  'a recursive CTE': () =>
    db.withRecursive('r(n)', () => tasks.select('id').unionAll(notes.select('id')) as any).selectFrom('r'),
  'a CTE that changes data': () =>
    db
      .with('d', (c) => c.deleteFrom('tasks').where('user_id', '=', me))
      .selectNoFrom((eb) => eb.lit(1).as('x')),
  union: () => tasks.select('id').union(notes.select('id')).orderBy('id').limit(3),
  'count filter, group by, having': () =>
    tasks
      .select((eb) => eb.fn.countAll().filterWhere('completed', '=', true).as('n'))
      .groupBy('title')
      .having((eb) => eb.fn.countAll(), '>', 1),
  'a window': () =>
    tasks.select((eb) =>
      eb.fn
        .agg('row_number')
        .over((o) => o.partitionBy('title').orderBy('id'))
        .as('n'),
    ),
  'distinct on': () =>
    tasks
      .distinctOn('title')
      .select('id')
      .orderBy('title', (o) => o.desc().nullsLast()),
  'order by with a raw direction': () => tasks.orderBy('id', sql`desc nulls last`),
  'coalesce, case, cast, like': () =>
    tasks
      .select((eb) => [
        eb.fn.coalesce('title', eb.val('')).as('a'),
        eb.case().when('id', '=', 1).then('x').else('y').end().as('b'),
        eb.cast('id', 'text').as('c'),
      ])
      .where((eb) => eb(eb.fn('lower', ['title']), 'like', '%a')),
  between: () => tasks.where((eb) => eb.between('id', 1, 2)),
  JSON: () =>
    tasks
      .select((eb: any) => eb.ref('data', '->>').key('or true').as('x'))
      .where(sql<boolean>`data -> 'a' ? ${'b'}`),
  'JSON of a row': () =>
    tasks.select((eb) => [eb.fn.jsonAgg('tasks').as('a'), eb.fn.toJson('tasks').as('b')]),
  'JSON of sub-queries': () =>
    tasks.select([jsonArrayFrom(notes.select('id')).as('a'), jsonObjectFrom(notes.select('id')).as('b')]),
  'for update of a table': () => tasks.forUpdate('tasks').skipLocked(),
  'limit and offset expressions': () =>
    tasks.limit(sql<number>`least(${10}::int, 100)`).offset((eb) => eb.val(1)),
  'raw expressions': () =>
    tasks.select([
      sql`now() - interval '1 day'`.as('a'),
      sql`count(*) filter (where completed or false)`.as('b'),
      sql`case when completed then 1 else 2 end`.as('c'),
      sql`extract(epoch from created_at)`.as('d'),
      sql`coalesce(tags, '{}')`.as('e'),
    ]),
  'raw conditions': () =>
    clause("lower(title) like 'a%' and id between 1 and 2 and title in ('a', 'b')").where(
      sql<boolean>`id = any(${[1]}::int[])`,
    ),
  'raw with nodes': () =>
    tasks.where(sql<boolean>`(${ref('title')} = ${'a'} or ${ref('tasks.id')} in (${join([1, 2])}))`),
  'a function as a source': () =>
    db.selectFrom((eb) => eb.fn('generate_series', [eb.lit(1), eb.lit(9)]).as('n')),
  'raw unnest as a source': () => db.selectFrom(sql`unnest(${['a']}::text[])`.as<any>(sql`u(title)`)),
  'an insert': () => add.values(row).returningAll(),
  'an insert of many': () => add.values([row, { ...row, id: 2, description: 'y' }]),
  'insert … select': () => into.expression(notes.select((eb) => ['title', eb.val(me).as('u'), 'title as d'])),
  'insert … select of a cast user': () =>
    into.expression(countries.select((eb) => ['name', eb.cast(eb.val(me), 'text').as('u'), 'code'])),
  'on conflict do nothing': () => add.values(row).onConflict((c) => c.column('id').doNothing()),
  'on conflict (user_id, …) do update': () =>
    add
      .values(row)
      .onConflict((c) =>
        c.columns(['user_id', 'id']).doUpdateSet((eb) => ({ title: eb.ref('excluded.title') })),
      ),
  'on conflict … do update where bound': () =>
    add
      .values(row)
      .onConflict((c) => c.constraint('k').doUpdateSet({ title: 'x' }).where('tasks.user_id', '=', me)),
  'an update': () => change.where('user_id', '=', me).returningAll(),
  'an update with an expression': () =>
    db
      .updateTable('tasks as t')
      .set((eb) => ({ done: eb.not('done'), at: sql`now()`, n: notes.select(eb.fn.countAll().as('n')) }))
      .where('t.user_id', '=', me),
  'update … from': () =>
    change
      .from('notes as n')
      .innerJoin('countries', 'code', 'n.id')
      .where('n.user_id', '=', me)
      .where('tasks.user_id', '=', me),
  'a delete': () => db.deleteFrom('tasks').where('tasks.user_id', '=', me).returning('id'),
  'delete … using': () =>
    db.deleteFrom('tasks as t').using('notes as n').where('t.user_id', '=', me).where('n.user_id', '=', me),
  'a merge': () =>
    merge
      .whenMatchedAnd('c.code', '=', 'x')
      .thenDelete()
      .whenMatched()
      .thenUpdateSet({ title: 'x' })
      .whenNotMatched()
      .thenInsertValues({ title: 'x', user_id: me }),
  'a merge with a sub-query': () =>
    db
      .mergeInto('countries')
      .using(notes.selectAll().as('n'), 'n.title', 'countries.name')
      .whenMatched()
      .thenDoNothing(),
  'unqualified with two sources': () => all.innerJoin('countries', 'code', 'title').where('user_id', '=', me),
  "bound only in another join's ON": () =>
    all.innerJoin('notes as n', (on) => on.on('n.user_id', '=', me).on('tasks.user_id', '=', me)),
  'bound by the join of the user of another row': () =>
    notes.innerJoin('tasks', 'tasks.user_id', 'notes.user_id'),
  'a CTE of the same name': () =>
    db
      .with('tasks', () => countries.selectAll())
      .selectFrom('tasks')
      .selectAll(),
  'sql.table in raw': () => notes.select(sql`${table('tasks')}`.as('x')),
  'insert … select of another user_id': () =>
    into.expression(notes.select(['title', 'user_id', 'title as d'])),
  'raw in the select list': () => tasks.select(sql`title, (select 1)`.as('x')),
  'raw in order by': () => tasks.orderBy(sql`id limit 1`),
  'raw in group by': () => tasks.groupBy(sql`id having true`),
  'raw on its own': () => ({ compile: () => sql`select 1`.compile(db) }) as Compilable<any>,
  ...each(
    [
      'true --',
      'true /* x */',
      "E'\\' or true or \\''=''",
      '$$x$$ = $$x$$',
      '"title" = title',
      "U&'\\0061' = title",
      'completed order by completed',
      'true group by id',
      'true limit 9',
      'true for update',
      'exists (select 1)',
    ],
    (text) => [`where raw ${text}`, () => clause(text)],
  ),
  'user_id in': () => all.where('user_id', 'in', [me]),
  'user_id is not distinct from': () => all.where('user_id', 'is not distinct from', me),
  'a table of nobody, in any way': () =>
    countries.selectAll().where((eb) => eb.or([eb('code', '=', 'x'), eb.not(eb('code', '=', 'y'))])),
}

export const REFUSED: Cases = {
  'no condition': () => all.selectAll(),
  or: () => all.where((eb) => eb.or([eb('user_id', '=', me), eb('id', '=', 1)])),
  'or around a whole condition': () => all.where((eb) => eb('user_id', '=', me).or('id', '=', 1)),
  'or of an object': () => all.where((eb) => eb.or({ user_id: me }).or('id', '=', 1)),
  'or under and': () =>
    all.where('id', '>', 0).where((eb) => eb.or([eb.and({ user_id: me, id: 1 }), eb('id', '=', 2)])),
  not: () => all.where((eb) => eb.not(eb('user_id', '=', me))),
  ...each(['!=', '<>', '>=', 'like', 'not in', 'is not', 'is distinct from', '~', '<='], (operator) => [
    `user_id ${operator}`,
    () => all.where('user_id', operator as any, operator === 'not in' ? [me] : me),
  ]),
  'user_id = a column': () => all.whereRef('user_id', '=', 'title'),
  'user_id = itself': () => all.whereRef('tasks.user_id', '=', 'tasks.user_id'),
  'user_id = another parameter': () => all.where('user_id', '=', you),
  'user_id = a literal': () => all.where((eb) => eb('user_id', '=', lit('me'))),
  'another column = the user': () => all.where('id', '=', me),
  'user_id under a function': () => all.where((eb) => eb(eb.fn('lower', ['user_id']), '=', me)),
  'a cast that mixes users up': () => all.where('user_id', '=', (eb: any) => eb.cast(eb.val(me), 'char(3)')),
  'a condition that is compared': () => all.where((eb) => eb(eb('user_id', '=', me), '=', false)),
  'in case': () => all.where((eb: any) => eb.case().when('user_id', '=', me).then(true).else(true).end()),
  'in having': () => all.select('user_id').groupBy('user_id').having('user_id', '=', me),
  'in a filter': () => all.select((eb) => eb.fn.countAll().filterWhere('user_id', '=', me).as('n')),
  '$if that does not hold': () => all.$if(false, (q) => q.where('user_id', '=', me)),
  'another spelling of the column': () => all.where('USER_ID', '=', me),
  'the name where it has an alias': () => db.selectFrom('tasks as t').where('tasks.user_id' as any, '=', me),
  'bound on the wrong alias': () => db.selectFrom(['tasks as a', 'tasks as b']).where('a.user_id', '=', me),
  'an alias that shadows': () =>
    db.selectFrom(['notes as tasks', 'tasks as notes']).where('tasks.user_id', '=', me),
  'a name in another case': () => all.where('Tasks.user_id' as any, '=', me),
  "bound only in a left join's ON": () => all.leftJoin('countries', (on) => on.on('tasks.user_id', '=', me)),
  'bound only in the ON of a right join': () =>
    countries.rightJoin('tasks as t', (on) => on.on('t.user_id', '=', me)),
  'bound only in the ON of a full join': () =>
    countries.fullJoin('tasks as t', (on) => on.on('t.user_id', '=', me)),
  'bound under or in an ON': () =>
    countries.innerJoin('tasks as t', (on) =>
      on.on((eb) => eb.or([eb('t.user_id', '=', me), eb('t.id', '=', 1)])),
    ),
  'a cross join': () => notes.crossJoin('tasks'),
  lateral: () => notes.innerJoinLateral(all.selectAll().as('t'), (on) => on.onTrue()),
  'bound outside of the sub-query': () => db.selectFrom(all.selectAll().as('t')).where('t.user_id', '=', me),
  'a scalar sub-query': () => notes.select(all.select('title').limit(1).as('x')),
  'a sub-query in where': () => notes.where('id', 'in', all.select('id')),
  'a sub-query in order by': () => notes.orderBy(all.select('id').limit(1)),
  'a sub-query in limit': () => notes.limit(all.select('id').limit(1)),
  'a sub-query in group by': () => notes.groupBy(all.select('id').limit(1)),
  'a sub-query in a function': () => notes.select((eb) => eb.fn.coalesce(all.select('id')).as('x')),
  'a sub-query in an ON': () =>
    notes.innerJoin('countries', (on) => on.on('code', 'in', all.select('title'))),
  'a sub-query in raw': () => notes.select(sql`coalesce(${all.select('id')})`.as('x')),
  exists: () => notes.where((eb) => eb.exists(all.select('id'))),
  'a CTE': () =>
    db
      .with('a', () => all.selectAll())
      .selectFrom('a')
      .where('a.user_id', '=', me),
  'an arm of a union': () => notes.select('id').unionAll(all.select('id')),
  'the first arm of a union': () => all.select('id').union(tasks.select('id')),
  except: () => notes.select('id').except(all.select('id')),
  'a schema': () => db.selectFrom('public.tasks').selectAll(),
  'two schemas': () => db.selectFrom(['a.tasks', 'b.tasks']).where('a.tasks.user_id', '=', me),
  'a dynamic table': () => db.selectFrom(db.dynamic.table('tasks').as('t') as any).selectAll(),
  'a dynamic reference': () => all.where(db.dynamic.ref('notes.user_id') as any, '=', me),
  'sql.table as a source': () => db.selectFrom(sql`f(${table('tasks')})`.as<any>('t')).selectAll(),
  'raw that names it': () => notes.select(sql`(select title from tasks)`.as('x')),
  'raw that names it in another case': () => notes.where(sql<boolean>`exists (table TASKS)`),
  'raw that names it in pieces': () => notes.select(sql`(ta${raw('sks')}.id)`.as('x')),
  'a function that reads it by name': () => notes.select(sql`to_regclass('public.tasks')`.as('x')),
  'insert without user_id': () => add.values({ id: 1, title: 'x' }),
  'insert with another user': () => add.values({ ...row, user_id: you }),
  'insert with a literal user': () => add.values({ ...row, user_id: lit('you') }),
  'insert with a function of the user': () =>
    add.values((eb) => ({ ...row, user_id: eb.fn('lower', [eb.val(me)]) })),
  'another user in one of many rows': () => add.values([row, { ...row, user_id: you }]),
  'no user in one of many rows': () => add.values([row, { id: 2, title: 'x' }]),
  'insert default values': () => add.defaultValues(),
  'insert without columns': () => add.expression(notes.selectAll()),
  'insert … select with the user in another place': () =>
    into.expression(notes.select((eb) => [eb.val(me).as('a'), 'title', 'id'])),
  'insert … select after a * of no columns': () =>
    into.expression(
      db
        .selectFrom(countries.as('z'))
        .selectAll('z')
        .select((eb) => [eb.val(me).as('a'), 'title', 'id']),
    ),
  'insert … select of a union': () =>
    into.expression(
      notes
        .select((eb) => ['title', eb.val(me).as('u'), 'id'])
        .unionAll(notes.select(['title', 'title as u', 'id'])),
    ),
  'insert … raw': () => into.expression(sql`${id('x')}`),
  'on conflict do update': () =>
    add.values(row).onConflict((c) => c.column('id').doUpdateSet({ title: 'x' })),
  'on conflict on a constraint': () =>
    add.values(row).onConflict((c) => c.constraint('user_id').doUpdateSet({ title: 'x' })),
  'on conflict bound in its index': () =>
    add.values(row).onConflict((c) => c.column('id').where('user_id', '=', me).doUpdateSet({ title: 'x' })),
  'on conflict bound on excluded': () =>
    add
      .values(row)
      .onConflict((c) => c.column('id').doUpdateSet({ title: 'x' }).where('excluded.user_id', '=', me)),
  'on conflict that sets user_id': () =>
    add.values(row).onConflict((c) => c.columns(['user_id', 'id']).doUpdateSet({ user_id: you })),
  update: () => change.where('id', '=', 1),
  'update that sets user_id': () => change.set({ user_id: you }).where('user_id', '=', me),
  'update that sets user_id by a reference': () => change.set('tasks.user_id', 'x').where('user_id', '=', me),
  'update that sets a raw column': () =>
    change.set(sql`${id('user_id')}` as any, 'x').where('user_id', '=', me),
  'update bound on its from': () => change.from('notes').where('notes.user_id', '=', me),
  'update … from': () =>
    db.updateTable('notes').set({ title: 'x' }).from('tasks').where('notes.user_id', '=', me),
  'a sub-query in set': () =>
    db
      .updateTable('notes')
      .set({ title: all.select('title').limit(1) })
      .where('user_id', '=', me),
  'a sub-query in values': () => db.insertInto('countries').values({ name: all.select('title').limit(1) }),
  'a sub-query in returning': () =>
    db.deleteFrom('countries').returning(all.select('title').limit(1).as('x')),
  delete: () => db.deleteFrom('tasks').where('id', '=', 1),
  'delete … using': () => db.deleteFrom('notes').using('tasks').where('notes.user_id', '=', me),
  'a CTE that changes data': () =>
    db
      .with('d', (c) => c.deleteFrom('tasks').returningAll())
      .selectFrom('d')
      .selectAll(),
  'merge into it': () => db.mergeInto('tasks').using('countries', 'code', 'title').whenMatched().thenDelete(),
  'merge from it': () =>
    db
      .mergeInto('countries')
      .using('tasks', (on) => on.on('tasks.user_id', '=', me))
      .whenNotMatched()
      .thenInsertValues({ name: 'x' }),
  'merge that sets user_id': () => merge.whenMatched().thenUpdateSet({ user_id: you }),
  'merge that inserts for another': () =>
    merge.whenNotMatched().thenInsertValues({ title: 'x', user_id: you }),
  'merge that reaches past its condition': () => merge.whenNotMatchedBySource().thenDelete(),
  'for update of another table': () => db.selectFrom('tasks as t').forUpdate('t'),
  ...each(
    [
      'true or true',
      'true) or (true',
      '1=1or true',
      "'' or ''='",
      'true; delete',
      'id between 1',
      'case when true',
      '(array[true',
      'array[true',
      'true union all',
      'true, true',
      'true returning id',
      'exists (table x)',
      "query_to_xml('x', true, true, '') is null",
      "pg_catalog.set_config('app.user_id', 'you', false) is null",
      "pg_read_file('x') is null",
      "ts_rewrite('a', 'x') is null",
    ],
    (text) => [`where raw ${text}`, () => clause(text)],
  ),
  'raw or before the condition': () => all.where(sql<boolean>`true or`).where('user_id', '=', me),
  'raw between before the condition': () =>
    all.where(sql<boolean>`title between 'a'`).where('user_id', '=', me),
  'raw order by before the condition': () =>
    all.where(sql<boolean>`true order by done`).where('user_id', '=', me),
  'raw case around the condition': () =>
    all
      .where(raw<boolean>('case when true'))
      .where('user_id', '=', me)
      .where(raw<boolean>('true then true end')),
  'raw brackets around the condition': () =>
    all.where(raw<boolean>('array[true')).where('user_id', '=', me).where(raw<boolean>('true] is not null')),
  'raw in pieces': () => tasks.where(sql<boolean>`true o${raw('r')} true`),
  'a literal inside a literal': () => tasks.where(sql<boolean>`'${lit(' or true or title = ')}'`),
  'a raw alias': () => db.selectFrom(sql`f(1)`.as<any>(sql`t, ${id('tasks')}`)),
  'a raw direction': () => tasks.orderBy('query_to_xml', sql`(${lit('select * from tasks')})`),
  'raw in an ON': () => tasks.innerJoin('countries', (on) => on.on(sql<boolean>`true, ${id('tasks')}`)),
  'raw in set': () => change.set({ title: sql`'x', user_id = 'you'` }).where('user_id', '=', me),
  'raw in values': () => into.values({ title: sql`'x', 'you'`, user_id: me, description: 'x' }),
  'raw in insert … select': () =>
    into.expression(countries.select((eb) => [sql`'x', 'you'`.as('a'), eb.val(me).as('u')])),
  'a row in insert … select': () =>
    into.expression(countries.select((eb) => [sql`(row('x', 'you')).*`.as('a'), eb.val(me).as('u')])),
  'raw in returning': () => add.values(row).returning(sql`(table x)`.as('x')),
  'raw around a delete': () =>
    db
      .with('d', () => sql`(${db.deleteFrom('tasks').where('user_id', '=', me)} is not null)` as any)
      .selectFrom('d'),
  'modifyEnd after the condition': () => tasks.modifyEnd(sql`is not null`),
  'modifyEnd by a function': () => tasks.modifyEnd(node(db.fn('or', [sql`true`]).toOperationNode())),
  'modifyEnd of an insert': () => add.values(row).modifyEnd(sql`, (${'you'})`),
  'modifyEnd of an update': () => change.where('user_id', '=', me).modifyEnd(sql`|| '2'`),
  'modifyEnd of a delete': () =>
    db
      .deleteFrom('tasks')
      .where('user_id', '=', me)
      .modifyEnd(sql`is not null`),
  modifyFront: () => tasks.modifyFront(sql`query_to_xml`).select((eb) => eb.parens(lit('x')).as('x')),
  'an unread operator': () =>
    tasks.where((eb: any) => eb(lit('x'), sql`= query_to_xml`, eb.parens(lit('x')))),
  'a function as an operator': () =>
    tasks.where((eb) => eb('id', db.fn('or', [sql`true`]) as any, sql`is not null`)),
  'between as an operator': () => all.where('id', sql`between` as any, 1).where('user_id', '=', me),
  'an operator of a made node': () =>
    tasks.where(
      node(
        BinaryOperationNode.create(
          RawNode.createWithSql('true'),
          OperatorNode.create('or' as never),
          RawNode.createWithSql('true'),
        ),
      ),
    ),
  'a bare or': () =>
    tasks.where(node(OrNode.create(RawNode.createWithSql('true'), RawNode.createWithSql('true')))),
  'sql.raw as a source': () => db.selectFrom(raw('x').as<any>('t')),
  'sql.id as a source': () => db.selectFrom(id('tasks').as<any>('t')).selectAll(),
  'sql.ref as a source': () => db.selectFrom(ref('public.tasks').as<any>('t')).selectAll(),
  'eb.ref as a source': () => db.selectFrom((eb: any) => eb.ref('tasks').as('t')).selectAll(),
  'eb.ref as a join': () => notes.crossJoin((eb: any) => eb.ref('tasks').as('t')).selectAll(),
  'eb.ref as the target of an update': () =>
    db.updateTable((eb: any) => eb.ref('tasks').as('t')).set({ title: 'x' }),
  'eb.ref as the target of a delete': () => db.deleteFrom((eb: any) => eb.ref('tasks').as('t')),
  'eb.ref as the source of a merge': () =>
    db
      .mergeInto('countries')
      .using(
        (eb: any) => eb.ref('tasks').as('t'),
        (on) => on.onTrue(),
      )
      .whenMatched()
      .thenDelete(),
  'only as a function': () =>
    db.selectFrom((eb: any) => eb.fn('only', [eb.ref('tasks')]).as('t')).selectAll(),
  'SQL in the name of a function': () =>
    tasks.select((eb) => eb.fn('(select title from tasks) || lower', ['title']).as('x')),
  'SQL in the name of an aggregate': () =>
    tasks.select((eb) => eb.fn.agg('1 from tasks --', ['title']).as('x')),
  set_config: () => tasks.select((eb) => eb.fn('set_config', [lit('a'), lit('b'), eb.lit(true)]).as('x')),
  'pg_catalog.query_to_xml': () => tasks.select((eb) => eb.fn('pg_catalog.query_to_xml', [lit('x')]).as('x')),
  'table_to_xml in raw': () => tasks.select(sql`TABLE_TO_XML ('x', true, true, '')`.as('x')),
  'a function by sql.id': () => tasks.select(sql`${id('query_to_xml')}(${'x'})`.as('x')),
  'a function by sql.ref, its arguments a node': () =>
    tasks.select((eb) => sql`${ref('query_to_xml')} ${eb.parens(lit('x'))}`.as('x')),
  'its arguments a node': () => tasks.select((eb) => sql`query_to_xml ${eb.parens(lit('x'))}`.as('x')),
  'raw that sets': () => clause('set role postgres is null'),
  'create table as': () => db.schema.createTable('x').as(countries.selectAll()),
  'drop table': () => db.schema.dropTable('tasks'),
  'create view': () => db.schema.createView('v').as(countries.selectAll()),
  'the samples of the catalog': () => db.selectFrom('pg_stats').selectAll(),
  'the information schema': () => db.selectFrom('information_schema.columns').selectAll(),
}
