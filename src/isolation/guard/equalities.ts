/**
 * What the guard knows while it reads: which names mean what, and which of them are equal.
 *
 * A *term* is a column of one relation (`3.owner_id`) or the owner's parameter (`$owner_id`). A *fact* says that two
 * terms are equal in every row that counts. A column is bound if a chain of facts leads from it to its own `$…`.
 */

// The parser's tree: a node is `{ Kind: fields }`. NODES in syntax.ts lists the kinds and their fields.
export type Node = any
/** Two equal terms. `forth`: the second equals the first only where the first exists and is not null. */
export type Fact = readonly [string, string, 'forth'?]

/** A column of a query: which owner columns' parameters it is equal to. With `star`, any number of columns. */
export interface Column {
  readonly name?: string | undefined
  readonly is: readonly string[]
  readonly star?: 'table' | 'function' | undefined
  /** The table with the columns that the star means. */
  readonly of?: string | undefined
}

/** One item of FROM. */
export interface Relation {
  readonly id: number
  readonly name: string
  readonly schema?: string
  /** A table's name. */
  readonly table?: string
  /** The owned table's name. */
  readonly owned?: string
  /** The columns of a query. Undefined where unknown: for a table, a function, and a query that is yet to be proved. */
  columns?: readonly Column[] | undefined
  /** Of a function: what may follow its name and a dot, because `f.x` calls x if there is no such column. */
  readonly only?: ReadonlySet<string>
  /** Proves the inside, if that may refer to items on its left. */
  readonly prove?: (facts: readonly Fact[]) => void
}

export interface Join {
  readonly type: string
  readonly left: Tree
  readonly right: Tree
  readonly using: readonly string[]
  readonly on: readonly Fact[]
  readonly quals: Node
  /** The scope of its ON. */
  readonly env: Env
}
export type Tree = Join | { readonly relation: Relation }

export interface Env {
  readonly owner: readonly string[]
  readonly parameters: readonly (string | undefined)[]
  /** Innermost first. */
  readonly ctes: readonly { readonly name: string; columns?: readonly Column[] | undefined }[]
  /** What a name may refer to, innermost first. */
  readonly scopes: readonly (readonly Tree[])[]
  readonly facts: readonly Fact[]
  /** What is the same everywhere in a statement. */
  readonly proof: {
    readonly owned: readonly string[]
    readonly shared: readonly string[]
    readonly functions: readonly string[]
    readonly audience: 'owner' | 'nobody'
    /** How many relations there are so far. */
    relations: number
    /** What each owner parameter is cast to. */
    readonly casts: Map<number, string>
    writes: boolean
    /** Proves a statement or sub-query, and returns its columns. */
    readonly query: (node: Node, env: Env) => readonly Column[]
  }
}

// Casts that keep two owners apart. The canonical ones only outermost: `$1::int::text` turns '007' into '7'.
export const FAITHFUL = ['text', 'varchar']
export const CANONICAL = ['uuid', 'int2', 'int4', 'int8']

export const only = (node: Node): [string, Node] => Object.entries(node)[0] as [string, Node]

export const stringsOf = (list: Node[] = []): string[] => list.map((node) => node.String?.sval)

/** The name of a function, operator or type. */
export function nameOf(list: Node[]): string {
  const names = stringsOf(list)
  return (names[0] === 'pg_catalog' && names.length === 2 ? names.slice(1) : names).join('.')
}

/** Whether a chain of facts leads from one term to another; exactly, if the first may not be null either. */
export function equal(from: string, to: string, facts: readonly Fact[], exactly = false): boolean {
  const reached = new Set([from])
  for (const term of reached) {
    // Two owner columns may have the same value in some rows; that does not make them equal.
    if (term.startsWith('$')) continue
    for (const [a, b, way] of facts) {
      if (a === term && !(way && exactly)) reached.add(b)
      if (b === term && !way) reached.add(a)
    }
  }
  return reached.has(to)
}

/** What holds in every row that comes out of a part of FROM, whatever the query around it says. */
export function always(tree: Tree): readonly Fact[] {
  if ('relation' in tree) {
    const { id, columns = [] } = tree.relation
    // If two columns have the same name, a query can refer to neither.
    const named = columns.filter(
      ({ name }) => name && columns.filter((other) => other.name === name).length === 1,
    )
    return named.flatMap(({ name, is }) => is.map((column): Fact => [`${id}.${name}`, `$${column}`]))
  }
  const { type, left, right, on } = tree
  if (type === 'JOIN_INNER') return [...always(left), ...always(right), ...on]
  if (type === 'JOIN_LEFT') return [...always(left), ...forth([...always(right), ...on], right)]
  if (type === 'JOIN_RIGHT') return [...forth([...always(left), ...on], left), ...always(right)]
  return [...forth(always(left), left), ...forth(always(right), right)]
}

/** What holds where a part of FROM gives a row: only facts that follow from a column of that row. */
function forth(facts: readonly Fact[], tree: Tree): readonly Fact[] {
  const ids = relationsOf(tree).map(({ id }) => String(id))
  return facts
    .flatMap(([a, b, way]): Fact[] =>
      way
        ? [[a, b, way]]
        : [
            [a, b, 'forth'],
            [b, a, 'forth'],
          ],
    )
    .filter(([a]) => ids.includes(a.split('.')[0]!))
}

/** What holds in every row that one side contributes to a join. */
export function beside({ type, left, right, on }: Join, side: 'left' | 'right'): readonly Fact[] {
  const kept = side === 'left' ? 'JOIN_RIGHT' : 'JOIN_LEFT'
  return type === 'JOIN_INNER' || type === kept ? [...on, ...always(side === 'left' ? right : left)] : []
}

export const relationsOf = (tree: Tree): readonly Relation[] =>
  'relation' in tree ? [tree.relation] : [...relationsOf(tree.left), ...relationsOf(tree.right)]

/** The relation that a name before a dot refers to; undefined if it is ambiguous. */
export function relationNamed(path: readonly string[], { scopes }: Env): Relation | undefined {
  for (const level of scopes) {
    const found = level
      .flatMap(relationsOf)
      .filter(
        ({ name, schema }) =>
          name === path.at(-1) && (path.length === 1 || (path.length === 2 && schema === path[0])),
      )
    if (found.length > 0) return found.length === 1 ? found[0] : undefined
  }
  return undefined
}

/** Where a column of that name surely is, and where it may be. PostgreSQL refuses a name that is in two places. */
export function columnIn(
  tree: Tree,
  column: string,
  owner: readonly string[],
): { sure: string[]; maybe: string[] } {
  if ('relation' in tree) {
    const { id, owned, columns } = tree.relation
    const term = [`${id}.${column}`]
    if (owned ? owner.includes(column) : columns?.some(({ name }) => name === column))
      return { sure: term, maybe: [] }
    const none = columns?.every(({ name, star }) => name && !star)
    return { sure: [], maybe: none ? [] : term }
  }
  const left = columnIn(tree.left, column, owner)
  const right = columnIn(tree.right, column, owner)
  if (!tree.using.includes(column))
    return { sure: [...left.sure, ...right.sure], maybe: [...left.maybe, ...right.maybe] }
  // USING makes one column of two, and both must exist.
  const { sure, maybe } = tree.type === 'JOIN_RIGHT' ? right : left
  const merged = sure.length > 0 ? sure : maybe
  return tree.type === 'JOIN_FULL' || merged.length !== 1
    ? { sure: [], maybe: ['', ''] }
    : { sure: merged, maybe: [] }
}

function columnTerm(fields: Node[], env: Env): string | undefined {
  const names = stringsOf(fields)
  const column = names.at(-1)
  if (column === undefined) return undefined
  if (names.length > 1) {
    const relation = relationNamed(names.slice(0, -1), env)
    return relation && `${relation.id}.${column}`
  }
  for (const level of env.scopes) {
    const found = level.map((tree) => columnIn(tree, column, env.owner))
    const sure = found.flatMap((one) => one.sure)
    if (sure.length > 0 || found.some(({ maybe }) => maybe.length > 0))
      return sure.length === 1 ? sure[0] : undefined
  }
  return undefined
}

/** The term of an expression, if it is one: a column or an owner parameter, cast faithfully or not at all. */
export function termOf(node: Node, env: Env): string | undefined {
  const casts: string[] = []
  let inner = node
  for (; inner?.TypeCast; inner = inner.TypeCast.arg) {
    const { names, typmods, arrayBounds } = inner.TypeCast.typeName
    if (typmods || arrayBounds) return undefined
    casts.push(nameOf(names))
  }
  if (!casts.every((cast, i) => FAITHFUL.includes(cast) || (i === 0 && CANONICAL.includes(cast))))
    return undefined
  if (inner?.ColumnRef)
    return casts.some((cast) => CANONICAL.includes(cast))
      ? undefined
      : columnTerm(inner.ColumnRef.fields, env)
  const owner = inner?.ParamRef && env.parameters[inner.ParamRef.number - 1]
  return owner === undefined ? undefined : `$${owner}`
}

/** Whether an expression is equal to the parameter of an owner column. */
export function isOwner(node: Node, column: string, env: Env): boolean {
  const term = termOf(node, env)
  return term !== undefined && equal(term, `$${column}`, env.facts, true)
}

/** The equalities that hold in every row for which a condition is true. */
export function equalities(node: Node, env: Env): readonly Fact[] {
  if (node?.BoolExpr?.boolop === 'AND_EXPR')
    return node.BoolExpr.args.flatMap((arg: Node) => equalities(arg, env))
  if (node?.BoolExpr?.boolop === 'OR_EXPR') {
    // What every arm says, whichever is true.
    const [first = [], ...others] = node.BoolExpr.args.map((arg: Node) => equalities(arg, env))
    return first.filter(([a, b]: Fact) => others.every((other: readonly Fact[]) => equal(a, b, other)))
  }
  const { kind, name, lexpr, rexpr } = node?.A_Expr ?? {}
  if (!name || nameOf(name) !== '=') return []
  const isOwnerTerm = (term: string | undefined) => term?.startsWith('$')
  const left = elementsOf(lexpr).map((element) => termOf(element, env))
  const rights = rightSides(kind, rexpr).map((side) =>
    elementsOf(side).map((element) => termOf(element, env)),
  )
  return left.flatMap((term, i): Fact[] => {
    const others = rights.map((side) => side[i])
    const [other] = others
    if (term === undefined || other === undefined || others.some((one) => one !== other)) return []
    // Null is not distinct from null, and one of several values is known only if they are the same.
    if ((kind === 'AEXPR_NOT_DISTINCT' || others.length > 1) && !isOwnerTerm(other) && !isOwnerTerm(term))
      return []
    return [[term, other]]
  })
}

/** The values of which the left side equals one. */
function rightSides(kind: string, rexpr: Node): Node[] {
  if (kind === 'AEXPR_OP' || kind === 'AEXPR_NOT_DISTINCT') return [rexpr]
  if (kind === 'AEXPR_IN') return rexpr.List.items
  if (kind !== 'AEXPR_OP_ANY') return []
  if (rexpr.A_ArrayExpr) return rexpr.A_ArrayExpr.elements ?? []
  // `array[$1]::text[]`: if an element is cast as well, only the outer cast shows.
  const { arg, typeName } = rexpr.TypeCast ?? {}
  const elements: Node[] = arg?.A_ArrayExpr?.elements ?? []
  const isFaithful =
    typeName && !typeName.typmods && [...FAITHFUL, ...CANONICAL].includes(nameOf(typeName.names))
  return isFaithful && elements.every((element) => element.ParamRef) ? elements : []
}

const elementsOf = (node: Node): Node[] => (node?.RowExpr ? placed(node.RowExpr.args) : [node])

/** `t.*`, `(f(x)).*`: any number of columns. */
export function isStar(node: Node): boolean {
  return (node.ColumnRef?.fields ?? node.A_Indirection?.indirection ?? []).at(-1)?.A_Star !== undefined
}

/** The values of a row at a known position: those before a star. */
export function placed(values: Node[]): Node[] {
  const star = values.findIndex(isStar)
  return star < 0 ? values : values.slice(0, star)
}
