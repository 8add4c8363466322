import { renamed } from './columns.ts'
import {
  always,
  beside,
  columnIn,
  type Env,
  equal,
  equalities,
  type Fact,
  type Join,
  nameOf,
  type Node,
  only,
  type Relation,
  stringsOf,
  type Tree,
} from './equalities.ts'
import { ELEMENTS, RECORDS } from './functions.ts'
import { listed, rest, walk } from './lists.ts'
import { refuse } from './refusal.ts'

/** Proves the queries of a WITH, and returns the scope that sees them. */
export function withQueries(clause: Node, outer: Env): Env {
  if (!clause) return outer
  listed('WithClause', clause)
  const list = clause.ctes.map((node: Node) => ({
    name: node.CommonTableExpr.ctename,
    cte: node.CommonTableExpr,
  }))
  let env = clause.recursive ? { ...outer, ctes: [...list, ...outer.ctes] } : outer
  for (const entry of list) {
    const { ctequery, aliascolnames, search_clause, cycle_clause } = entry.cte
    listed('CommonTableExpr', entry.cte)
    walk(search_clause, env, 'CTESearchClause')
    walk(cycle_clause, env, 'CTECycleClause')
    const inner = env
    const read = (node: Node) => {
      const columns = renamed(env.proof.query(node, inner), aliascolnames)
      return search_clause || cycle_clause ? [...columns, { is: [] }] : columns
    }
    const { op, larg, withClause } = ctequery.SelectStmt ?? {}
    if (clause.recursive && op === 'SETOP_UNION' && !withClause) {
      // What holds in the first arm holds in all rows if the second arm keeps it; if not, less is tried.
      entry.columns = read({ SelectStmt: larg })
      for (let before = ''; before !== JSON.stringify(entry.columns); entry.columns = read(ctequery))
        before = JSON.stringify(entry.columns)
    } else entry.columns = read(ctequery)
    if (!clause.recursive) env = { ...env, ctes: [entry, ...env.ctes] }
  }
  return env
}

/**
 * Proves the items of FROM, with a statement's target before them, and returns what is in scope and known after them.
 */
export function from(target: Relation | undefined, items: Node[] = [], where: Node, env: Env): Env {
  const trees: Tree[] = []
  for (const item of items) trees.push(build(item, env, [...trees]))
  if (target) trees.unshift({ relation: target })
  const inner = { ...env, scopes: [trees, ...env.scopes] }
  const facts = [...env.facts, ...equalities(where, inner)]
  for (const tree of trees)
    proved(tree, [...facts, ...trees.flatMap((other) => (other === tree ? [] : always(other)))], env)
  return { ...inner, facts: [...facts, ...trees.flatMap(always)] }
}

export function build(item: Node, env: Env, before: readonly Tree[]): Tree {
  const [kind, body] = only(item)
  listed(kind, body)
  if (kind !== 'JoinExpr') return { relation: relation(kind, body, env, before) }
  const left = build(body.larg, env, before)
  const right = build(body.rarg, env, [...before, left])
  return join(body.jointype, left, right, stringsOf(body.usingClause), body.quals, env)
}

export function join(
  type: string,
  left: Tree,
  right: Tree,
  using: readonly string[],
  quals: Node,
  outer: Env,
): Join {
  const env = { ...outer, scopes: [[left, right], ...outer.scopes] }
  const merged = using.flatMap((column): Fact[] => {
    const [a, b] = [left, right]
      .map((side) => columnIn(side, column, outer.owner))
      .map(({ sure, maybe }) => (sure.length > 0 ? sure : maybe))
    return a!.length === 1 && b!.length === 1 ? [[a![0]!, b![0]!]] : []
  })
  return { type, left, right, using, on: [...equalities(quals, env), ...merged], quals, env }
}

/** Proves a part of FROM, given the facts known about its rows. */
export function proved(tree: Tree, facts: readonly Fact[], env: Env): void {
  if ('relation' in tree) {
    tree.relation.prove?.(facts)
    return bound(tree.relation, facts, env)
  }
  const { left, right, on, quals } = tree
  proved(left, [...facts, ...beside(tree, 'left')], env)
  proved(right, [...facts, ...beside(tree, 'right')], env)
  walk(quals, { ...tree.env, facts: [...facts, ...on, ...always(left), ...always(right)] })
}

function relation(kind: string, body: Node, env: Env, before: readonly Tree[]): Relation {
  const { aliasname, colnames } = body.alias ?? {}
  const lateral = { ...env, scopes: [before, ...env.scopes] }
  if (kind === 'RangeVar') {
    const cte = body.schemaname ? undefined : env.ctes.find(({ name }) => name === body.relname)
    if (!cte) return table(body, env)
    return {
      id: env.proof.relations++,
      name: aliasname ?? body.relname,
      columns: cte.columns && renamed(cte.columns, colnames),
    }
  }
  if (kind === 'RangeSubselect') {
    const made: Relation = {
      id: env.proof.relations++,
      name: aliasname ?? '',
      prove:
        body.lateral &&
        ((facts) =>
          (made.columns = renamed(env.proof.query(body.subquery, { ...lateral, facts }), colnames))),
    }
    if (!body.lateral) made.columns = renamed(env.proof.query(body.subquery, env), colnames)
    return made
  }
  const calls: string[] = body.functions.map((node: Node) =>
    nameOf(node.List.items[0].FuncCall?.funcname ?? []),
  )
  const name = aliasname ?? calls[0]?.split('.').at(-1)
  if (!name) refuse('a function in FROM needs an alias: write "from f(…) as f(x)"')
  const defined = body.coldeflist?.map((node: Node) => node.ColumnDef.colname) ?? []
  return {
    id: env.proof.relations++,
    name,
    ...(!calls.every((call) => RECORDS.has(call)) && {
      only: new Set([
        name,
        ...stringsOf(colnames),
        ...defined,
        'ordinality',
        ...(!colnames && calls.some((call) => ELEMENTS.has(call)) ? ['value'] : []),
      ]),
    }),
    prove: (facts) => rest(kind, body, { ...lateral, facts }, []),
  }
}

/** A declared table, never a CTE. */
export function table({ schemaname: schema, relname, alias }: Node, env: Env): Relation {
  const { owned, shared, audience } = env.proof
  const full = schema ? `${schema}.${relname}` : relname
  const name = owned.includes(full) || schema !== 'public' ? full : relname
  if (!owned.includes(name) && !shared.includes(full))
    refuse(`${full} is no declared table: declare whose its rows are`, relname)
  const made = {
    id: env.proof.relations++,
    name: alias?.aliasname ?? relname,
    table: full,
    ...(!alias && schema && { schema }),
  }
  if (!owned.includes(name)) return made
  if (audience === 'nobody') refuse(`${relname} belongs to owners, and this statement is nobody's`, relname)
  if (alias?.colnames)
    refuse(`the alias of ${relname} renames its columns: name them as the table does`, relname)
  return { ...made, owned: relname }
}

/** Refuses an owned table if its rows are not known to be the owner's. */
export function bound(
  { id, name, owned: table }: Relation,
  facts: readonly Fact[],
  { owner, parameters }: Env,
  where = 'the query that names it',
): void {
  const column = table && owner.find((column) => !equal(`${id}.${column}`, `$${column}`, facts))
  if (column)
    refuse(
      `${name} is not bound to its owner: add "${name}.${column} = ${placeholder(column, parameters)}" to the WHERE of ${where}`,
      table,
    )
}

/** Refuses to change an owner column. */
export function kept({ owned: name }: Relation, list: Node[] = [], env: Env): void {
  const written = list.flatMap(({ ResTarget: target }) => [target.name, ...stringsOf(target.indirection)])
  const column = env.owner.find((column) => written.includes(column))
  if (name && column) refuse(`${column} says who owns a row of ${name}, and no statement may change it`, name)
}

/** The owner's parameter for a column, for messages. */
export function placeholder(column: string, parameters: Env['parameters']): string {
  return `$${parameters.indexOf(column) + 1 || 'n'}`
}
