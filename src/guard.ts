import {
  createQueryId,
  type AliasNode,
  type BinaryOperationNode,
  type CastNode,
  type ColumnNode,
  type ColumnUpdateNode,
  type DataTypeNode,
  type DeleteQueryNode,
  type IdentifierNode,
  type InsertQueryNode,
  isBinaryOperator,
  isJSONOperator,
  type JoinNode,
  type MergeQueryNode,
  type OperationNode,
  type OperatorNode,
  type OrderByItemNode,
  type PrimitiveValueListNode,
  type RawNode,
  type ReferenceNode,
  type RootOperationNode,
  type SelectModifierNode,
  type SelectQueryNode,
  type TableNode,
  type UpdateQueryNode,
  type ValueListNode,
  type ValueNode,
  type ValuesNode,
  type WhenNode,
  PostgresQueryCompiler,
} from 'kysely'

/** What the guard must know of a database: which tables are user-owned, and what stands for the user. */
export interface GuardRules {
  /** Tables whose rows belong to the user in their `user_id` column. */
  readonly ownedTables: ReadonlySet<string>
  /** The parameter that is replaced by the scope's user when a statement runs. */
  readonly currentUser: unknown
}

/** A statement that cannot be shown to stay within one user's rows. Thrown when it is compiled, never later. */
export class UnscopedStatementError extends Error {
  /** The table that is not proved to be bound, or `(none)` where no single table is at fault. */
  readonly table: string
  constructor(table: string, why: string, sql: string) {
    super(`Refused: ${why} (table ${table}) in: ${sql}`)
    this.name = 'UnscopedStatementError'
    this.table = table
  }
}

const USER_COLUMN = 'user_id'
const STATEMENTS = [
  'SelectQueryNode',
  'InsertQueryNode',
  'UpdateQueryNode',
  'DeleteQueryNode',
  'MergeQueryNode',
]
// Where these name a table, it is one that stands in some FROM.
const NAMES_A_SOURCE = ['ReferenceNode', 'FunctionNode', 'AggregateFunctionNode', 'SelectModifierNode']

// Stand for a node inside a raw fragment and for what was in parentheses: no SQL has braces outside of literals.
const NODE = '{?}'
const PARENTHESES = '{}'
// Each begins or names a query or a setting: without one of them, what is in parentheses can reach nothing outside.
const QUERY_WORDS =
  /\b(select|table|only|values|insert|update|delete|merge|into|truncate|copy|call|do|execute|set|reset)\b/i
// Outside of parentheses these end the clause that the fragment stands in, widen its condition, swallow the `and`
// after it, or make two expressions of one.
const CLAUSE_WORDS =
  /\b(or|from|join|using|with|where|group|order|having|window|limit|offset|fetch|for|on|union|intersect|except|returning|case|when|then|else|end|between)\b|,|\.\s*\*|^\s*\*/i
// What can hide the rest: comments, quotes, unpaired brackets, a word glued to a number, a call of what a node names.
const UNREADABLE = /;|--|\/\*|['"$\\()[\]]|(?<!\w)\d[\d.]*[a-z_]|\{\?\}\s*\{/i
// Kysely's jsonArrayFrom and jsonObjectFrom, which take a query.
const JSON_OF_ROWS =
  /^\(select (coalesce\(json_agg\(agg\), '\[\]'\) from \{\?\} as agg|to_json\(obj\) from \{\?\} as obj)\)$/
// Functions that run SQL handed to them as text, read tables by name, or change what the third wall rests on.
const UNPROVABLE_FUNCTIONS =
  /^(set_config|setval|query_to_.*|\w+_to_xml\w*|xpath_table|ts_stat|ts_rewrite|dblink\w*|pg_.*|lo_.*|loread|lowrite|currtid2?|get_raw_page|crosstab\w*|connectby)$/i
// Its tables show every user's rows: samples of them, sizes, the text of statements.
const CATALOG = /^(pg_.*|information_schema)$/
// Casts that keep two users apart: char(3) would not.
const FAITHFUL_TYPES = ['text', 'varchar', 'uuid']

interface Source {
  /** The user-owned table. */
  table: string
  /** The name it goes by in the statement, with a schema only where it has no alias. */
  name: string
  schema?: string
}

/**
 * Proves that a statement touches only the rows of one user, or throws. For every user-owned table anywhere
 * in it, `user_id` must be bound by equality to the current user in the condition of the query that names the
 * table, and not under `or` or `not`; an insert must write it; nothing may change it. What cannot be proved
 * is refused, raw SQL over user tables included; of tables, views and functions it does not know, it takes
 * that they show no user's rows. It looks at the statement, never at values, so one look at compile time is
 * enough.
 *
 * @param root the statement as Kysely holds it, before it becomes SQL
 * @throws UnscopedStatementError
 */
export function guard(root: RootOperationNode, { ownedTables, currentUser }: GuardRules): void {
  const proved = new Set<OperationNode>()
  const refuse = (table: string, why: string): never => {
    throw new UnscopedStatementError(table, why, textOf(root))
  }

  if (!STATEMENTS.includes(root.kind))
    refuse('(none)', `a ${root.kind} is not a statement that can be scoped`)
  visit(root)

  function visit(node: OperationNode, parent?: OperationNode): void {
    check(node, parent)
    for (const value of Object.values(node)) {
      for (const child of Array.isArray(value) ? value : [value]) {
        if (isNode(child)) visitChild(node, child)
      }
    }
  }

  function visitChild(parent: OperationNode, child: OperationNode): void {
    // `tasks.title`, `to_json(tasks)`, `for update of tasks` name a table that stands in some FROM, where it is checked.
    if (child.kind === 'TableNode' && NAMES_A_SOURCE.includes(parent.kind)) return
    // Kysely writes no parentheses around it there, so the fragment could go on where its condition ends.
    if (parent.kind === 'RawNode' && child.kind !== 'SelectQueryNode' && STATEMENTS.includes(child.kind))
      refuse('(none)', 'raw SQL around a statement')
    // Kysely writes no parentheses of its own: `a and b or c` would be read as `(a and b) or c`.
    if (child.kind === 'OrNode' && parent.kind !== 'ParensNode' && parent.kind !== 'OrNode') {
      if (!['WhereNode', 'OnNode', 'HavingNode'].includes(parent.kind))
        refuse('(none)', '`or` without parentheses')
    }
    visit(child, parent)
  }

  function check(node: OperationNode, parent?: OperationNode): void {
    if ((node as SelectQueryNode).endModifiers?.some(({ kind }) => kind !== 'SelectModifierNode'))
      refuse('(none)', 'a modifier that cannot be read')
    switch (node.kind) {
      case 'SelectQueryNode':
        return checkSelect(node as SelectQueryNode)
      case 'InsertQueryNode':
        return checkInsert(node as InsertQueryNode)
      case 'UpdateQueryNode':
        return checkUpdate(node as UpdateQueryNode)
      case 'DeleteQueryNode':
        return checkDelete(node as DeleteQueryNode)
      case 'MergeQueryNode':
        return checkMerge(node as MergeQueryNode)
      case 'TableNode':
        return checkTable(node as TableNode)
      case 'RawNode':
        if (parent?.kind !== 'RawNode') checkRaw(node as RawNode)
        return
      case 'BinaryOperationNode':
        return checkOperator(node as BinaryOperationNode)
      case 'OrderByItemNode':
        return checkDirection(node as OrderByItemNode)
      case 'SelectModifierNode':
        // It stands right after a condition: `user_id = $1` and then `is not null`.
        if ((node as SelectModifierNode).rawModifier) refuse('(none)', 'a modifier that cannot be read')
        return
      case 'FunctionNode':
      case 'AggregateFunctionNode':
        return checkFunction((node as OperationNode & { func: string }).func)
    }
  }

  function checkTable(node: TableNode): void {
    const { schema, identifier } = node.table
    if (CATALOG.test(schema?.name ?? identifier.name) || CATALOG.test(identifier.name))
      refuse(identifier.name, 'the catalog is not bound to a user')
    if (!proved.has(node)) {
      ownedTable(node, ({ table }) => refuse(table, 'it is named where no user can be bound'))
    }
  }

  function checkSelect({ from, joins = [], where }: SelectQueryNode): void {
    checkSources([...(from?.froms ?? [])], joins, where)
  }

  function checkUpdate({ table, from, joins = [], where, updates = [] }: UpdateQueryNode): void {
    if (!table) return // the `then update` of a merge, checked there
    const targets =
      table.kind === 'ListNode' ? (table as OperationNode & { items: OperationNode[] }).items : [table]
    checkSources([...targets, ...(from?.froms ?? [])], joins, where)
    for (const target of targets) ownedTable(target, ({ table }) => checkUpdates(table, updates))
  }

  function checkDelete({ from, using, joins = [], where }: DeleteQueryNode): void {
    checkSources([...from.froms, ...(using?.tables ?? [])], joins, where)
  }

  function checkSources(items: OperationNode[], joins: readonly JoinNode[], where?: OperationNode): void {
    const alone = items.length + joins.length === 1
    for (const item of items) checkSource(item, [where], alone)
    for (const { joinType, table, on } of joins) {
      // The ON of these joins decides which of this table's rows come through; that of a right or full join does not.
      const filters = ['InnerJoin', 'LeftJoin', 'LateralInnerJoin', 'LateralLeftJoin'].includes(joinType)
      checkSource(table, filters ? [where, on] : [where], alone)
    }
  }

  function checkSource(node: OperationNode, conditions: (OperationNode | undefined)[], alone: boolean): void {
    checkReadable(node)
    ownedTable(node, (source) => {
      if (!conditions.some((condition) => binds(condition, source, alone)))
        refuse(source.table, `${USER_COLUMN} is not bound to the current user`)
    })
  }

  /** Whether a source is what it looks like: `eb.ref('tasks')` and `sql.id('tasks')` there would be a table. */
  function checkReadable(node: OperationNode): void {
    const parts = node.kind === 'AliasNode' ? [(node as AliasNode).node, (node as AliasNode).alias] : [node]
    for (const part of parts) {
      const readable = ['TableNode', 'SelectQueryNode', 'FunctionNode', 'IdentifierNode'].includes(part.kind)
      // `unnest(…)`, and as an alias `t(a, b)`.
      if (!readable && !/^\w+ \{\} $/.test(outermost(rawText(part)))) {
        refuse('(none)', 'a source that cannot be read')
      }
    }
  }

  function checkInsert({ into, columns = [], values, onConflict }: InsertQueryNode): void {
    if (!into) return // the `then insert` of a merge, checked there
    ownedTable(into, (source) => {
      const { table } = source
      checkInserted(table, columns, values)
      if (!onConflict || onConflict.doNothing) return
      checkUpdates(table, onConflict.updates ?? [])
      const sameUser = onConflict.columns?.some(isUserColumn) || binds(onConflict.updateWhere, source, false)
      if (!sameUser) refuse(table, '`on conflict do update` may reach a row of another user')
    })
  }

  function checkInserted(table: string, columns: readonly ColumnNode[], values?: OperationNode): void {
    const index = columns.findIndex(isUserColumn)
    const rows = index < 0 || !values ? [] : insertedRows(values).map((row) => row[index])
    if (rows.length === 0 || !rows.every(isCurrentUser)) {
      refuse(table, `an insert does not set ${USER_COLUMN} to the current user`)
    }
  }

  function checkUpdates(table: string, updates: readonly OperationNode[]): void {
    for (const update of updates) {
      const column = columnName((update as ColumnUpdateNode).column)
      if (column === undefined) refuse(table, 'an update sets a column that cannot be read')
      if (column === USER_COLUMN) refuse(table, `an update sets ${USER_COLUMN}`)
    }
  }

  function checkMerge({ into, using, whens = [] }: MergeQueryNode): void {
    // Its ON keeps no row of the source away, so a user-owned source must be a sub-query.
    if (using) checkSource(using.table, [], false)
    checkSource(into, [using?.on], false)
    ownedTable(into, ({ table }) => {
      for (const when of whens) checkWhen(table, when)
    })
    // Kysely writes these two as raw SQL; nothing else that is raw may stand there.
    for (const { result } of whens) {
      if (result && /^(delete|do nothing)$/.test(rawText(result))) proved.add(result)
    }
  }

  function checkWhen(table: string, { condition, result }: WhenNode): void {
    if (
      [...conjuncts(condition)].some(
        (node) => node.kind === 'MatchedNode' && 'bySource' in node && node.bySource,
      )
    ) {
      refuse(table, '`when not matched by source` reaches rows outside the condition')
    }
    if (result?.kind === 'InsertQueryNode') {
      const { columns = [], values } = result as InsertQueryNode
      checkInserted(table, columns, values)
    }
    if (result?.kind === 'UpdateQueryNode') checkUpdates(table, (result as UpdateQueryNode).updates ?? [])
  }

  /** Shows that a raw fragment is one expression, of which no part belongs to the SQL around it. */
  function checkRaw(node: RawNode): void {
    if (proved.has(node)) return
    const text = rawText(node)
    for (const table of ownedTables) {
      if (new RegExp(`\\b${table}\\b`, 'i').test(text)) refuse(table, 'raw SQL names it')
    }
    if (JSON_OF_ROWS.test(text) && node.parameters.every(({ kind }) => kind === 'SelectQueryNode')) return
    const rest = outermost(text)
    // The words are looked for in literals too, and the backslash there would hide where they end.
    if (QUERY_WORDS.test(text) || text.includes('\\') || UNREADABLE.test(rest) || CLAUSE_WORDS.test(rest))
      refuse('(none)', `raw SQL cannot be proved: ${text.replaceAll(NODE, '…')}`)
    for (const [, name = ''] of text.matchAll(/(\w+)\s*[({]/g)) checkCalled(name)
  }

  function checkFunction(name: string): void {
    // Kysely writes the name as it is.
    if (!/^[a-z_]\w*(\.[a-z_]\w*)*$/i.test(name) || QUERY_WORDS.test(name) || CLAUSE_WORDS.test(name))
      refuse('(none)', `${name} is not the name of a function`)
    checkCalled(name.slice(name.lastIndexOf('.') + 1))
  }

  function checkCalled(name: string): void {
    if (UNPROVABLE_FUNCTIONS.test(name))
      refuse('(none)', `the function ${name} may run SQL or change settings`)
  }

  function checkOperator({ operator, rightOperand }: BinaryOperationNode): void {
    const word = operator.kind === 'OperatorNode' ? (operator as OperatorNode).operator : undefined
    const known = isBinaryOperator(word) || isJSONOperator(word)
    const isBetween = word?.startsWith('between') && rightOperand.kind === 'AndNode'
    // A raw one may only be of signs: the right-hand side could be what a word of it calls or swallows.
    if (!known && !isBetween && !/^[-+*/<>=~!@#%^&|?]+$/.test(rawText(operator)))
      refuse('(none)', 'an operator that cannot be read')
  }

  function checkDirection({ direction }: OrderByItemNode): void {
    if (direction && !/^(asc|desc)( nulls (first|last))?$/i.test(rawText(direction)))
      refuse('(none)', 'a direction of `order by` that cannot be read')
  }

  /** Calls `found` if the node is a user-owned table, aliased or not, and marks it as checked. */
  function ownedTable(node: OperationNode, found: (source: Source) => void): void {
    const target = unalias(node)
    if (target.kind !== 'TableNode') return
    const { schema, identifier } = (target as TableNode).table
    const table = identifier.name
    if (!ownedTables.has(table)) return
    proved.add(target)
    if (node.kind !== 'AliasNode') return found({ table, name: table, schema: schema?.name })
    const { alias } = node as AliasNode
    if (alias.kind !== 'IdentifierNode') refuse(table, 'its alias cannot be read')
    found({ table, name: (alias as IdentifierNode).name })
  }

  /** Whether a condition holds only for rows of the source that belong to the current user. */
  function binds(condition: OperationNode | undefined, source: Source, alone: boolean): boolean {
    if (!condition) return false
    for (const node of conjuncts(condition)) {
      if (node.kind !== 'BinaryOperationNode') continue
      const { leftOperand, operator, rightOperand } = node as BinaryOperationNode
      if ((operator as OperatorNode).operator !== '=') continue
      const isBound = (column: OperationNode, value: OperationNode) =>
        isCurrentUser(value) && isUserColumnOf(column, source, alone)
      if (isBound(leftOperand, rightOperand) || isBound(rightOperand, leftOperand)) return true
    }
    return false
  }

  function isCurrentUser(value: unknown): boolean {
    if (!isNode(value)) return value === currentUser
    if (value.kind === 'ValueNode') return (value as ValueNode).value === currentUser
    if (value.kind !== 'CastNode') return false
    const { expression, dataType } = value as CastNode
    return FAITHFUL_TYPES.includes((dataType as DataTypeNode).dataType) && isCurrentUser(expression)
  }
}

function textOf(root: RootOperationNode): string {
  return new PostgresQueryCompiler().compileQuery(root, createQueryId()).sql
}

/** The parts of a condition that must all hold. */
function* conjuncts(node: OperationNode): Generator<OperationNode> {
  const inner = node as OperationNode & Record<'where' | 'on' | 'node' | 'left' | 'right', OperationNode>
  switch (node.kind) {
    case 'WhereNode':
      return yield* conjuncts(inner.where)
    case 'OnNode':
      return yield* conjuncts(inner.on)
    case 'ParensNode':
      return yield* conjuncts(inner.node)
    case 'AndNode':
      yield* conjuncts(inner.left)
      return yield* conjuncts(inner.right)
    default:
      yield node
  }
}

function isNode(value: unknown): value is OperationNode {
  return typeof value === 'object' && value !== null && 'kind' in value && typeof value.kind === 'string'
}

function unalias(node: OperationNode): OperationNode {
  return node.kind === 'AliasNode' ? (node as AliasNode).node : node
}

function columnName(node: OperationNode | undefined): string | undefined {
  if (node?.kind === 'ReferenceNode') return columnName((node as ReferenceNode).column)
  return node?.kind === 'ColumnNode' ? (node as ColumnNode).column.name : undefined
}

function isUserColumn(node: ColumnNode): boolean {
  return columnName(node) === USER_COLUMN
}

/** The text of a raw fragment, with the raw ones inside it written out; empty for other nodes. */
function rawText(node: OperationNode): string {
  if (node.kind !== 'RawNode') return ''
  const { sqlFragments, parameters } = node as RawNode
  const texts = sqlFragments.map((fragment, i) => {
    const child = parameters[i]
    return fragment + (child ? rawText(child) || (child.kind === 'RawNode' ? '' : NODE) : '')
  })
  return texts.join('')
}

/** A raw fragment without literals, parentheses and brackets, and whole `case … end` and `between … and`. */
function outermost(text: string): string {
  // A node inside a literal could end it.
  let rest = text.replaceAll(/'[^']*'/g, (literal) => (literal.includes(NODE) ? "'" : ' '))
  for (let before = ''; before !== rest;) {
    before = rest
    rest = rest
      .replaceAll(/\s*(\([^()[\]]*\)|\[[^()[\]]*\])\s*/g, ` ${PARENTHESES} `)
      .replaceAll(/\b(case\b((?!\bcase\b)[^])*?\bend|between\b((?!\bbetween\b)[^])*?\band)\b/gi, ' ')
  }
  return rest
}

/** The values of an insert, row by row; none where they cannot be read. */
function insertedRows(values: OperationNode): readonly unknown[][] {
  if (values.kind === 'ValuesNode') {
    return (values as ValuesNode).values.map((row) => [
      ...(row as ValueListNode | PrimitiveValueListNode).values,
    ])
  }
  if (values.kind !== 'SelectQueryNode') return []
  const { selections = [], setOperations } = values as SelectQueryNode
  // `*` may be any number of columns, none included.
  const readable = !setOperations && selections.every(({ selection }) => !isSelectAll(selection))
  return readable ? [selections.map(({ selection }) => unalias(selection))] : []
}

function isSelectAll(node: OperationNode): boolean {
  const column = node.kind === 'ReferenceNode' ? (node as ReferenceNode).column : node
  return column.kind === 'SelectAllNode'
}

function isUserColumnOf(node: OperationNode, { name, schema }: Source, alone: boolean): boolean {
  if (node.kind !== 'ReferenceNode' || columnName(node) !== USER_COLUMN) return false
  const { table } = (node as ReferenceNode).table ?? {}
  if (!table) return alone
  return table.identifier.name === name && (!table.schema || table.schema.name === schema)
}
