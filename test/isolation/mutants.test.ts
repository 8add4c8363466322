import {
  type BinaryOperationNode,
  createQueryId,
  type InsertQueryNode,
  type OperationNode,
  OperationNodeTransformer,
  PostgresQueryCompiler,
  RawNode,
  type RootOperationNode,
  type ValueListNode,
  type ValueNode,
  type ValuesNode,
} from 'kysely'
import t from 'tap'
import { connect, type Database, type Step } from '../../src/database.ts'
import { guard } from '../../src/guard.ts'
import { guardRules, type Statement, statements, UserScope } from '../../src/isolation.ts'
import { build, identity } from '../helper/app.ts'
import { migratedUrl } from '../helper/database.ts'
import { walkRoutes } from './route-walker.ts'

// Takes each user_id condition out of each statement, one at a time, and shows that each wall stops what is left
// when the walls before it are gone; with all three gone the route walker must see the leak.

type AnyStatement = Statement<any, unknown, 'user'>

interface Mutant {
  statement: AnyStatement
  query: RootOperationNode
  /** Puts the mutant in the place of the statement. */
  mutate(step: Step): Step
}

const isUser = (node: unknown): boolean => (node as ValueNode).value === guardRules.currentUser

class Mutation extends OperationNodeTransformer {
  found = 0
  readonly #target: number
  constructor(target: number) {
    super()
    this.#target = target
  }

  #hit(): boolean {
    this.found += 1
    return this.found - 1 === this.#target
  }

  override transformNodeImpl<T extends OperationNode>(node: T): T {
    if (node.kind === 'BinaryOperationNode') {
      const { rightOperand } = node as unknown as BinaryOperationNode
      if (isUser(rightOperand) && this.#hit()) return RawNode.createWithSql('true') as unknown as T
    }
    return super.transformNodeImpl(node)
  }

  protected override transformInsertQuery(node: InsertQueryNode): InsertQueryNode {
    const rows = (node.values as ValuesNode).values as ValueListNode[]
    const index = rows[0]?.values.findIndex(isUser) ?? -1
    if (index < 0 || !this.#hit()) return super.transformInsertQuery(node)
    const values = rows.map((row) => Object.assign({ ...row }, { values: row.values.toSpliced(index, 1) }))
    return {
      ...node,
      columns: node.columns?.toSpliced(index, 1),
      values: { ...node.values, values } as ValuesNode,
    }
  }
}

const compile = (query: RootOperationNode) => new PostgresQueryCompiler().compileQuery(query, createQueryId())

function mutantsOf(statement: AnyStatement): Mutant[] {
  const mutants: Mutant[] = []
  const original = compile(statement.query).parameters
  for (let target = 0; ; target++) {
    const mutation = new Mutation(target)
    const query = mutation.transformNode(statement.query)
    if (mutation.found <= target) return mutants
    const { sql, parameters } = compile(query)
    mutants.push({
      statement,
      query,
      mutate(step) {
        const values = new Map(original.map((placeholder, i) => [placeholder, step.parameters[i]]))
        return {
          ...step,
          name: '',
          sql,
          parameters: parameters.map((placeholder) => values.get(placeholder)),
        }
      },
    })
  }
}

// Loading the app has compiled every statement.
const mutants = () => statements.flatMap(mutantsOf)

t.test('with a user_id condition taken out', async (t) => {
  const url = await migratedUrl()
  const verdicts: Record<string, string>[] = []

  let db = await connect({ url })
  await build(t, { database: db })
  t.ok(
    statements.length > 0 && statements.every((statement) => mutantsOf(statement).length > 0),
    'every statement has a condition to take out',
  )

  await t.test('the guard refuses it', async (t) => {
    for (const { statement, query } of mutants()) {
      t.throws(() => guard(query, guardRules), { name: 'UnscopedStatementError' }, statement.sql)
      verdicts.push({ statement: statement.sql.replaceAll('"', '').slice(0, 60), guard: 'refused' })
    }
  })

  await t.test('without the guard, row-level security gives nothing', async (t) => {
    const task = await new Owner(db, 'owner').create()
    const values = {
      id: task,
      before: Number.MAX_SAFE_INTEGER,
      title: 'x',
      description: null,
      completed: false,
      skip: 0,
      limit: 10,
      setsDescription: false,
    }
    const checksum = await new Owner(db, 'owner').read()
    const stranger = new UserScope(db, 'stranger')
    for (const [i, { statement, mutate }] of mutants().entries()) {
      const rows = await db.run([mutate(stranger.step(statement, values))]).catch(() => 'an error')
      t.notMatch(JSON.stringify(rows), /owner|"total":[^0]/, statement.sql)
      t.equal(await new Owner(db, 'owner').read(), checksum, 'nothing of the owner changed')
      Object.assign(verdicts[i] as object, { database: rows === 'an error' ? 'error' : 'no row' })
    }
  })
  await db.close()

  await t.test('without both, the route walker sees it', async (t) => {
    db = await connect({ url, rls: false })
    for (const [i, { statement, mutate }] of mutants().entries()) {
      // An insert without its user is an error in any case: the column takes no null.
      if (statement.query.kind === 'InsertQueryNode') continue
      const app = await build(t, { database: withMutant(db, statement, mutate) })
      const [owner, stranger] = await Promise.all([identity(), identity()])
      const document = withoutAliases(app.swagger())
      const { findings } = await walkRoutes({ app, document, owner, stranger, enough: 1 })
      t.ok(findings.length > 0, `seen by ${findings[0]}`)
      Object.assign(verdicts[i] as object, { walker: 'seen' })
    }
    await db.close()
  })

  for (const { statement, guard, database, walker = 'insert' } of verdicts) {
    t.comment([guard, database?.padEnd(6), walker.padEnd(6), statement].join(' | '))
  }
})

class Owner {
  readonly #db: Database
  readonly #step: Pick<Step, 'userId' | 'role' | 'name'>
  constructor(db: Database, userId: string) {
    this.#db = db
    this.#step = { userId, role: 'taskward_user', name: '' }
  }

  async create(): Promise<number> {
    const sql = `insert into tasks (user_id, title) values ($1, 'owner''s') returning id`
    const [rows] = await this.#db.run([{ ...this.#step, sql, parameters: [this.#step.userId] }])
    return (rows as { id: number }[])[0]?.id as number
  }

  async read(): Promise<string> {
    return JSON.stringify(
      await this.#db.run([{ ...this.#step, sql: 'select * from tasks order by id', parameters: [] }]),
    )
  }
}

function withMutant(db: Database, { name }: AnyStatement, mutate: Mutant['mutate']): Database {
  return { ...db, run: (steps) => db.run(steps.map((step) => (step.name === name ? mutate(step) : step))) }
}

/** One of the mounts of the task handlers is enough here. */
function withoutAliases(document: { paths?: object }): object {
  const paths = Object.entries(document.paths ?? {}).filter(([path]) => /^\/(todos|me)/.test(path))
  return { ...document, paths: Object.fromEntries(paths) }
}
