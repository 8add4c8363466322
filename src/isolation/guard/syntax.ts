// The parts of PostgreSQL's parse tree that a statement may be made of: each kind of node with its fields.
// What is missing here is refused by name, so a new version's syntax stays out until somebody has reviewed it.

const NODES_AND_FIELDS = `
  SelectStmt distinctClause targetList fromClause whereClause groupClause groupDistinct havingClause windowClause
    valuesLists sortClause limitOffset limitCount limitOption lockingClause withClause op all larg rarg
  InsertStmt relation cols selectStmt onConflictClause returningClause withClause override
  UpdateStmt relation targetList whereClause fromClause returningClause withClause
  DeleteStmt relation usingClause whereClause returningClause withClause
  MergeStmt relation sourceRelation joinCondition mergeWhenClauses returningClause withClause
  MergeWhenClause matchKind commandType override condition targetList values
  OnConflictClause action infer targetList whereClause location
  InferClause indexElems whereClause conname location
  IndexElem name expr collation opclass ordering nulls_ordering
  ReturningClause exprs
  WithClause ctes recursive location
  CommonTableExpr ctename aliascolnames ctematerialized ctequery search_clause cycle_clause location
  CTESearchClause search_col_list search_breadth_first search_seq_column location
  CTECycleClause cycle_col_list cycle_mark_column cycle_mark_value cycle_mark_default cycle_path_column location

  RangeVar schemaname relname inh relpersistence alias location
  RangeSubselect lateral subquery alias
  RangeFunction lateral ordinality is_rowsfrom functions alias coldeflist
  JoinExpr jointype larg rarg usingClause quals
  Alias aliasname colnames
  ColumnDef colname typeName is_local collClause location
  LockingClause lockedRels strength waitPolicy

  ResTarget name indirection val location
  MultiAssignRef source colno ncolumns
  SetToDefault location
  ColumnRef fields location
  ParamRef number location
  A_Const ival fval boolval sval bsval isnull location
  A_Star
  A_Expr kind name lexpr rexpr rexpr_list_start rexpr_list_end location
  A_ArrayExpr elements list_start list_end location
  A_Indirection arg indirection
  A_Indices is_slice lidx uidx
  BoolExpr boolop args location
  BooleanTest arg booltesttype location
  NullTest arg nulltesttype argisrow location
  CaseExpr arg args defresult location
  CaseWhen expr result location
  CoalesceExpr args location
  MinMaxExpr op args location
  CollateClause arg collname location
  RowExpr args row_format location
  TypeCast arg typeName location
  TypeName names typmods typemod arrayBounds location
  SubLink subLinkType testexpr operName subselect location
  SQLValueFunction op typmod location
  FuncCall funcname args agg_order agg_filter over agg_within_group agg_star agg_distinct func_variadic funcformat
    location
  NamedArgExpr name arg argnumber location
  GroupingFunc args location
  GroupingSet kind content location
  SortBy node sortby_dir sortby_nulls useOp location
  WindowDef name refname partitionClause orderClause frameOptions startOffset endOffset location
  MergeSupportFunc msftype location
  List items
  String sval
  Integer ival

  JsonObjectConstructor exprs output absent_on_null unique location
  JsonArrayConstructor exprs output absent_on_null location
  JsonArrayQueryConstructor query output format absent_on_null location
  JsonObjectAgg constructor arg absent_on_null unique
  JsonArrayAgg constructor arg absent_on_null
  JsonAggConstructor output agg_filter agg_order over location
  JsonKeyValue key value
  JsonValueExpr raw_expr format
  JsonFormat format_type encoding location
  JsonOutput typeName returning
  JsonReturning format
  JsonIsPredicate expr format item_type unique_keys location
  JsonParseExpr expr output unique_keys location
  JsonScalarExpr expr output location
  JsonSerializeExpr expr output location
  JsonFuncExpr op column_name context_item pathspec passing output on_empty on_error wrapper quotes location
  JsonArgument name val
  JsonBehavior btype expr location`

/** The fields of each kind of node. */
export const NODES: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  NODES_AND_FIELDS.replaceAll('\n    ', ' ')
    .split('\n')
    .map((line) => line.trim().split(' '))
    .flatMap(([kind, ...fields]) => (kind ? [[kind, new Set(fields)]] : [])),
)

/** Fields that hold a node without its kind, for all kinds of parents or for one. */
export const KIND_OF_FIELD: Readonly<Record<string, string>> = {
  alias: 'Alias',
  collClause: 'CollateClause',
  'JsonArgument.val': 'JsonValueExpr',
  'JsonArrayAgg.arg': 'JsonValueExpr',
  'JsonKeyValue.value': 'JsonValueExpr',
  'JsonObjectAgg.arg': 'JsonKeyValue',
  'JsonParseExpr.expr': 'JsonValueExpr',
  'JsonSerializeExpr.expr': 'JsonValueExpr',
  constructor: 'JsonAggConstructor',
  context_item: 'JsonValueExpr',
  cycle_clause: 'CTECycleClause',
  format: 'JsonFormat',
  infer: 'InferClause',
  on_empty: 'JsonBehavior',
  on_error: 'JsonBehavior',
  onConflictClause: 'OnConflictClause',
  output: 'JsonOutput',
  over: 'WindowDef',
  relation: 'RangeVar',
  returning: 'JsonReturning',
  returningClause: 'ReturningClause',
  search_clause: 'CTESearchClause',
  typeName: 'TypeName',
  withClause: 'WithClause',
}
