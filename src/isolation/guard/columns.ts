// What a query gives: the names of its columns, and which of them are surely an owner column's parameter.
import {
  type Column,
  type Env,
  equal,
  isOwner,
  isStar,
  type Node,
  type Relation,
  relationNamed,
  relationsOf,
  stringsOf,
  type Tree,
} from './equalities.ts'

/** The columns of a list of outputs. */
export function columnsOf(targets: Node[] = [], env: Env): readonly Column[] {
  return targets.flatMap(({ ResTarget: { name, val } }): readonly Column[] => {
    const fields: Node[] = val.ColumnRef?.fields ?? val.A_Indirection?.indirection ?? []
    if (!isStar(val)) {
      return [
        {
          name: name ?? stringsOf(val.ColumnRef?.fields).at(-1),
          is: env.owner.filter((column) => isOwner(val, column, env)),
        },
      ]
    }
    const path = stringsOf(fields.slice(0, -1))
    const named = path.length > 0 ? relationNamed(path, env) : undefined
    if (val.A_Indirection || (path.length > 0 && !named)) return [{ is: [], star: 'table' }]
    if (named) return expanded(named, env)
    const [level = []] = env.scopes
    const isMerged = (tree: Tree): boolean =>
      'using' in tree && (tree.using.length > 0 || isMerged(tree.left) || isMerged(tree.right))
    const all = level.flatMap(relationsOf).flatMap((one) => expanded(one, env))
    // USING makes one column of two, and puts it first.
    return level.some(isMerged)
      ? [{ is: [], star: all.some(({ star }) => star === 'table') ? 'table' : 'function' }, ...all]
      : all
  })
}

/** The columns of `t.*`. */
function expanded({ id, table, owned, columns, only: names }: Relation, env: Env): readonly Column[] {
  const isOf = (name?: string) =>
    env.owner.filter((column) => name && equal(`${id}.${name}`, `$${column}`, env.facts, true))
  if (columns && !owned) return columns.map((column) => ({ ...column, is: isOf(column.name) }))
  const known = owned ? env.owner.map((name) => ({ name, is: isOf(name) })) : []
  return [{ is: [], star: names ? 'function' : 'table', of: table }, ...known]
}

/** The columns of `union`, `intersect` and `except`. */
export function combined(left: readonly Column[], right: readonly Column[]): readonly Column[] {
  // After a star it is unknown which columns pair up, unless both sides have a star of the same table.
  const stars = [...left, ...right].filter(({ star }) => star)
  const isAligned =
    left.length === right.length &&
    left.every(({ star, of }, i) => star === right[i]?.star && (!star || (of && of === right[i]?.of)))
  if (stars.length > 0 && !isAligned) return stars
  return left.map((column, i) => ({
    ...column,
    is: column.is.filter((name) => right[i]?.is.includes(name)),
  }))
}

/** Columns under the names of an alias. */
export function renamed(columns: readonly Column[], names?: Node[]): readonly Column[] {
  if (!names) return columns
  const star = columns.findIndex((column) => column.star)
  if (star >= 0 && star < names.length) return columns.filter((column) => column.star)
  return columns.map((column, i) => (i < names.length ? { ...column, name: stringsOf(names)[i] } : column))
}
