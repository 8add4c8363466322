import {
  CANONICAL,
  type Env,
  FAITHFUL,
  type Node,
  nameOf,
  only,
  relationNamed,
  stringsOf,
} from './equalities.ts'
import { FUNCTIONS, OPERATORS, TYPES } from './functions.ts'
import { refuse } from './refusal.ts'
import { KIND_OF_FIELD, NODES } from './syntax.ts'

// What to write in place of what is refused most.
const INSTEAD: Readonly<Record<string, string>> = {
  'alias of a JoinExpr': 'name its columns by the tables in it, or write "(select … from …) as x"',
  'intoClause of a SelectStmt': 'write "insert into … select …"',
  'isNatural of a JoinExpr': 'write "using (…)" with the owner columns among the others',
  'join_using_alias of a JoinExpr': 'name the columns by the tables of the join',
  JsonTable: 'write "jsonb_to_recordset(…) as t (…)", or jsonb_array_elements',
  RangeTableFunc: 'read XML in the service',
  RangeTableSample: 'write "order by random() limit …"',
  XmlExpr: 'write XML in the service',
}

const unlisted = (what: string) =>
  `${what} is not on the list of what can be proved${INSTEAD[what] ? `: ${INSTEAD[what]}` : ''}`

/** Refuses a node of a kind, or with a field, that is not on the list. */
export function listed(kind: string, body: Node): void {
  const fields = NODES.get(kind) ?? refuse(unlisted(kind))
  const unknown = Object.keys(body).find((field) => !fields.has(field))
  if (unknown) refuse(unlisted(`${unknown} of a ${kind}`))
}

/** Refuses what is not on the lists, and proves the queries in it. */
export function walk(node: Node, env: Env, implied?: string): void {
  if (Array.isArray(node)) return node.forEach((item) => walk(item, env))
  if (typeof node !== 'object' || node === null || Object.keys(node).length === 0) return
  const [kind, body] = implied ? [implied, node] : only(node)
  listed(kind, body)
  if (kind.endsWith('Stmt')) return void env.proof.query(node, env)
  if (kind === 'A_Const') return
  if (kind === 'LockingClause') return void (env.proof.writes = true)
  if (kind === 'RangeVar') refuse(`${body.relname} cannot be bound here: name it in FROM`, body.relname)
  if (kind === 'FuncCall') callable('function', nameOf(body.funcname), FUNCTIONS, env)
  if (kind === 'TypeCast') castable(body, env)
  if (kind === 'TypeName')
    callable('type', nameOf(body.names), new Set([...TYPES, ...env.proof.owned, ...env.proof.shared]), env)
  const operator =
    kind === 'A_Expr' && !body.kind.includes('BETWEEN') ? body.name : (body.operName ?? body.useOp)
  if (operator && !OPERATORS.has(nameOf(operator)))
    refuse(
      `the operator ${nameOf(operator)} is not on the list: write one of PostgreSQL's own, or call a declared function`,
    )
  if (kind === 'A_Indirection')
    for (const name of stringsOf(body.indirection)) selectable(name, new Set(['key', 'value']))
  if (kind === 'ColumnRef') {
    const path = stringsOf(body.fields)
    const relation = relationNamed(path.slice(0, -1), env)
    if (path.length > 3) refuse(`${path.join('.')} has too many parts: write table.column`)
    if (path.length > 1 && relation?.only) selectable(path.at(-1), relation.only)
    if (path.length > 1 && !relation && path[0] !== 'old' && path[0] !== 'new')
      refuse(`${path[0]} of ${path.join('.')} is not in scope here`)
  }
  rest(kind, body, env, [])
}

/** Walks the fields of a node, except those already handled. */
export function rest(kind: string, body: Node, env: Env, done: readonly string[]): void {
  for (const [field, child] of Object.entries(body)) {
    const implied = Array.isArray(child)
      ? undefined
      : (KIND_OF_FIELD[`${kind}.${field}`] ?? KIND_OF_FIELD[field])
    if (!done.includes(field)) walk(child, env, implied)
  }
}

function callable(what: string, name: string, list: ReadonlySet<string>, env: Env): void {
  if (list.has(name) || env.proof.functions.includes(name)) return
  refuse(
    `${what} ${name} is not on the list: declare it in \`functions\` only if it is yours, shows no rows, runs no SQL text and touches no setting`,
  )
}

/** A parameter has the type of its first cast everywhere: after `$1::int`, `$1::text` may say '7' for '007'. */
function castable({ arg, typeName }: Node, env: Env): void {
  const cast = nameOf(typeName.names)
  for (const { ParamRef: parameter } of [arg, ...(arg.A_ArrayExpr?.elements ?? [])]) {
    if (!parameter || env.parameters[parameter.number - 1] === undefined) continue
    const type = FAITHFUL.includes(cast) ? 'text' : cast
    const before = env.proof.casts.get(parameter.number) ?? type
    if (typeName.typmods || ![...FAITHFUL, ...CANONICAL].includes(cast) || before !== type)
      refuse(
        `$${parameter.number} stands for the owner: cast it to text, or only to uuid or one type of integer`,
      )
    env.proof.casts.set(parameter.number, type)
  }
}

function selectable(name: string | undefined, columns: ReadonlySet<string>): void {
  if (name && !columns.has(name) && !FUNCTIONS.has(name))
    refuse(
      `.${name} may call the function ${name}: name the column without it, or in the alias: "as f(${name})"`,
    )
}
