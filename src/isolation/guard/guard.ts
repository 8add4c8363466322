/**
 * The guard: reads a statement with PostgreSQL's own parser and proves that it shows and changes the rows of one
 * owner only. It looks at the text that will be sent, never at values, so one look before the first run is enough.
 *
 * A row is *bound* where each owner column equals its own parameter. Each invariant names the function that keeps it:
 *
 * G1  One statement, of a kind on the list, and every node and field of it on the list. (walk, syntax.ts)
 * G2  It means the same to every server: no other version or setting reads it otherwise. (parse)
 * G3  Every relation is a CTE in scope, a declared table, a proved sub-query or a listed function. (relation)
 * G4  Every owned table is bound by equalities that hold wherever one of its rows comes through: those of WHERE and
 *     of an inner join hold always, those of an outer join for its nullable side only, those of a full join nowhere.
 *     Of `or` counts what all arms say; of `not` and `case`, nothing. (proved, equalities)
 * G5  A sub-query knows what is known of the rows it is evaluated for, and sees only the names PostgreSQL shows it:
 *     without `lateral` no sibling, in ON the two sides, in WITH the names before it. (build, join, withQueries)
 * G6  A column of a sub-query is equal to the owner only where it is in every row of it. (columnsOf)
 * G7  Owner columns are written by an insert, each with its own parameter in every row, and never changed. (inserted, kept)
 * G8  Each function, operator and type is on a list or declared, however it is called: `x.f` and `(x).f` call f. (walk)
 *
 * **Trusts:** that the catalog is as declared, which another wall compares: the declared tables are tables (no views,
 * rules or triggers that reach further) with the owner columns NOT NULL and compared by a deterministic collation;
 * pg_catalog comes first in the search path, and nothing in the schemas after it has the name of a listed function,
 * operator or type with better fitting arguments; declared functions, and functions over a table's row type, show no
 * owned rows. That the owner parameters are bound to the owner, never null, and of the owner columns' type: where the
 * sender declares none, a parameter's first use decides, so it is compared with nothing of a type that loses a part of it
 * (`char(n)`, `name`). That the server's encoding is UTF-8.
 */
import { columnsOf, combined } from './columns.ts'
import {
  always,
  type Column,
  type Env,
  equalities,
  isOwner,
  type Node,
  only,
  placed,
  type Relation,
} from './equalities.ts'
import { listed, rest, walk } from './lists.ts'
import { parse } from './parse.ts'
import { refuse, UnscopedStatementError } from './refusal.ts'
import { bound, build, from, join, kept, placeholder, proved, table, withQueries } from './sources.ts'

export { UnscopedStatementError }

/** What the guard must know of a database. */
export interface Declaration {
  /** The columns that together own a row, in every owned table, e.g. ['owner_id']. */
  readonly owner: readonly string[]
  /** Tables whose rows belong to the owner. */
  readonly owned: readonly string[]
  /** Tables of nobody. */
  readonly shared: readonly string[]
  /** Functions and types allowed beyond the built-in list. */
  readonly functions?: readonly string[]
}

/** What the proof found. */
export interface Proof {
  /** Whether any part of it changes or locks rows. */
  readonly writes: boolean
  /** Whether its columns follow the table's: `select *`, `returning *`, `t.*` in an output list. */
  readonly star: boolean
}

const STATEMENTS: Record<string, (body: Node, env: Env, kind: string) => readonly Column[]> = {
  SelectStmt: select,
  InsertStmt: insert,
  UpdateStmt: change,
  DeleteStmt: change,
  MergeStmt: merge,
}

/**
 * Proves that a statement shows and changes the rows of one owner only (`audience` owner), or no owned row (nobody).
 *
 * @param sql the text that will be sent
 * @param parameters what $1, $2, … are: the name of an owner column, or undefined for any other value
 * @throws UnscopedStatementError
 */
export function prove(
  sql: string,
  { owner, owned, shared, functions = [] }: Declaration,
  parameters: readonly (string | undefined)[],
  audience: 'owner' | 'nobody',
): Proof {
  const proof = {
    owned,
    shared,
    functions,
    audience,
    relations: 0,
    casts: new Map<number, string>(),
    writes: false,
    query,
  }
  try {
    const columns = query(parse(sql), { owner, parameters, ctes: [], scopes: [], facts: [], proof })
    return { writes: proof.writes, star: columns.some(({ star }) => star === 'table') }
  } catch (error) {
    if (error instanceof UnscopedStatementError) throw error
    const why = error instanceof RangeError ? 'it is nested too deeply' : 'the guard cannot read it'
    return refuse(why, '(none)', { cause: error })
  }
}

/** Proves a statement or sub-query, and returns its columns. */
function query(node: Node, outer: Env): readonly Column[] {
  const [kind, body] = only(node)
  const read =
    STATEMENTS[kind] ??
    refuse(`${kind} is not on the list: write select, insert, update, delete, merge or values`)
  listed(kind, body)
  if (kind !== 'SelectStmt') outer.proof.writes = true
  return read(body, withQueries(body.withClause, outer), kind)
}

function select(body: Node, env: Env): readonly Column[] {
  if (body.op !== 'SETOP_NONE') {
    const [left, right] = [body.larg, body.rarg].map((arm) => query({ SelectStmt: arm }, env))
    rest('SelectStmt', body, env, ['larg', 'rarg', 'withClause'])
    return combined(left!, right!)
  }
  const inner = from(undefined, body.fromClause, body.whereClause, env)
  rest('SelectStmt', body, inner, ['fromClause', 'withClause'])
  if (!body.valuesLists) {
    const columns = columnsOf(body.targetList, inner)
    // Grouping sets put null in place of the columns that they do not group by.
    const mayBeNull = body.groupClause?.some((node: Node) => node.GroupingSet)
    return mayBeNull ? columns.map((column) => ({ ...column, is: [] })) : columns
  }
  const rows: Node[][] = body.valuesLists.map((list: Node) => list.List.items)
  const known = rows.map(placed)
  const first = known[0]!.map((_, i) => ({
    name: `column${i + 1}`,
    is: env.owner.filter((column) => known.every((row) => isOwner(row[i], column, env))),
  }))
  return known.every((row, i) => row.length === rows[i]!.length)
    ? first
    : [...first, { is: [], star: 'table' }]
}

function insert(body: Node, env: Env): readonly Column[] {
  const target = table(body.relation, env)
  const source = body.selectStmt ? query(body.selectStmt, env) : []
  const star = source.findIndex((column) => column.star)
  inserted(
    target,
    body,
    body.cols,
    env,
    (i, column) => (star < 0 || i < star) && source[i]?.is.includes(column) === true,
  )
  const row = target.owned ? env.owner.map((name) => ({ name, is: [name] })) : []
  const mine = always({ relation: { ...target, columns: row } })
  const { onConflictClause: conflict } = body
  if (conflict) {
    const excluded = {
      relation: {
        id: env.proof.relations++,
        name: 'excluded',
        columns: [{ is: [], star: 'table' as const }, ...row],
      },
    }
    const inner = { ...env, scopes: [[{ relation: target }, excluded], ...env.scopes] }
    const facts = [...env.facts, ...always(excluded), ...equalities(conflict.whereClause, inner)]
    const index: Node[] = conflict.infer?.indexElems ?? []
    const isIndexed = env.owner.every((name) =>
      index.some(
        ({ IndexElem: { name: column, collation, opclass } }) => column === name && !collation && !opclass,
      ),
    )
    if (conflict.action === 'ONCONFLICT_UPDATE' && !isIndexed)
      bound(target, facts, env, 'on conflict do update')
    kept(target, conflict.targetList, env)
    walk(conflict, { ...inner, facts: [...facts, ...mine] }, 'OnConflictClause')
  }
  const written = {
    ...env,
    scopes: [[{ relation: target }], ...env.scopes],
    facts: [...env.facts, ...mine],
  }
  rest('InsertStmt', body, written, ['relation', 'selectStmt', 'onConflictClause', 'withClause'])
  return columnsOf(body.returningClause?.exprs, written)
}

function change(body: Node, env: Env, kind: string): readonly Column[] {
  const target = table(body.relation, env)
  const inner = from(target, body.fromClause ?? body.usingClause, body.whereClause, env)
  kept(target, body.targetList, env)
  rest(kind, body, inner, ['relation', 'fromClause', 'usingClause', 'withClause'])
  return columnsOf(body.returningClause?.exprs, inner)
}

function merge(body: Node, env: Env): readonly Column[] {
  const whens: Node[] = body.mergeWhenClauses.map((node: Node) => node.MergeWhenClause)
  const has = (kind: string) => whens.some(({ matchKind }) => matchKind === `MERGE_WHEN_${kind}`)
  // Rows without a match count like those of an outer join.
  const [target, source] = [has('NOT_MATCHED_BY_SOURCE'), has('NOT_MATCHED_BY_TARGET')]
  const type = source ? (target ? 'JOIN_FULL' : 'JOIN_RIGHT') : target ? 'JOIN_LEFT' : 'JOIN_INNER'
  const left = { relation: table(body.relation, env) }
  const tree = join(type, left, build(body.sourceRelation, env, []), [], body.joinCondition, env)
  proved(tree, env.facts, env)
  const inner = { ...tree.env, facts: [...env.facts, ...always(tree)] }
  for (const when of whens) {
    const { commandType, targetList, values } = when
    if (commandType === 'CMD_UPDATE') kept(left.relation, targetList, env)
    if (commandType === 'CMD_INSERT')
      inserted(left.relation, when, targetList, env, (i, column) =>
        isOwner(placed(values ?? [])[i], column, inner),
      )
  }
  rest('MergeStmt', body, inner, ['relation', 'sourceRelation', 'joinCondition', 'withClause'])
  return columnsOf(body.returningClause?.exprs, inner)
}

/** Refuses an insert into an owned table that does not write the env.owner. */
function inserted(
  { owned: name }: Relation,
  { override }: Node,
  list: Node[],
  env: Env,
  isOwnerAt: (i: number, column: string) => boolean,
): void {
  if (!name) return
  if (override === 'OVERRIDING_USER_VALUE')
    refuse(`\`overriding user value\` drops the owner that is written to ${name}`, name)
  const columns = list?.map((node) => node.ResTarget)
  for (const column of env.owner) {
    const i = columns?.findIndex((target) => target.name === column && !target.indirection) ?? -1
    if (i < 0 || !isOwnerAt(i, column))
      refuse(
        `an insert into ${name} does not write its owner: name its columns, and give ${column} ${placeholder(column, env.parameters)} in each row`,
        name,
      )
  }
}
