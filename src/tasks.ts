import { type Expression, sql, type SqlBool } from 'kysely'
import {
  comparable,
  eachField,
  FIELDS,
  DEFAULTS,
  PRIORITIES,
  type TaskValues,
  valuesIn,
} from '../schemas/task-fields.ts'
import type { NewTask, Task, TaskChange, TaskStats } from '../schemas/task.ts'
import { type First, insertOnce, once } from './idempotency.ts'
import type { Given, Statement, UserScope } from './isolation/index.ts'
import { readPage } from './large-reads.ts'
import { HttpProblem } from './problem.ts'
import { type Mine, statement } from './tables.ts'
import { ALL, choosesAny, type Chosen, chosen, isOverdue } from './task-filters.ts'
import type { TaskPage } from './task-query.ts'
import { behind, cursorOf, eachSort, ordering, type Position, readCursor } from './task-sorts.ts'
import { readWhole } from './whole-reads.ts'

/** The versions that a task may have, from If-Match; null: any. */
type Versions = readonly string[] | null
type At = { id: number; versions: Versions }
type Versioned<T> = T & { version: number }

const columns = ['id', 'user_id', ...FIELDS, 'due_at as due_date', 'created_at', 'updated_at'] as const
const withVersion = [...columns, 'version'] as const
const hasVersion = ({ versions }: Given<At>) =>
  sql<boolean>`(${versions}::text[] is null or version::text = any(${versions}))`

type Page = Position & { limit: number; skip: number }
const pageOf = (mine: Mine, { limit, skip }: Given<Page>) =>
  mine.selectFrom('tasks').select(columns).limit(limit).offset(skip)

const list = statement((mine, given: Given<Page>) =>
  pageOf(mine, given)
    .where(behind('created_at', 'desc', given))
    .orderBy(ordering('created_at', 'desc')),
)

const lists = eachSort((sort, order) =>
  statement((mine, given: Given<Page & Chosen>) =>
    pageOf(mine, given)
      .where(chosen(given))
      .where(behind(sort, order, given))
      .orderBy(ordering(sort, order)),
  ),
)

const count = statement((mine, given: Given<Chosen>) =>
  mine
    .selectFrom('tasks')
    .select(({ fn }) => fn.countAll<number>().as('total'))
    .where(chosen(given)),
)

const find = statement((mine, given: Given<At>) =>
  mine.selectFrom('tasks').select(withVersion).where('id', '=', given.id).where(hasVersion(given)),
)

const insert = (mine: Mine, given: Given<TaskValues>) =>
  mine
    .insertInto(
      'tasks',
      eachField((field) => sql<never>`${given[field]}`),
    )
    .returning(withVersion)
const create = statement(insert)
const createOnce = insertOnce('tasks', insert)

// A field whose name is not in `sets` stays as it is.
export type Change = TaskValues & { sets: readonly string[] }
const counted = { updated_at: sql<string>`now()`, version: sql<number>`version + 1` }
export const changed = (given: Given<Change>) => ({
  ...eachField(
    (field) =>
      sql<never>`case when ${sql.lit(field)} = any(${given.sets}::text[]) then ${given[field]} else ${sql.ref(field)} end`,
  ),
  ...counted,
})
const change = statement((mine, given: Given<At & Change>) =>
  mine
    .updateTable('tasks')
    .set(changed(given))
    .where('id', '=', given.id)
    .where(hasVersion(given))
    .returning(withVersion),
)

const toggle = statement((mine, given: Given<At>) =>
  mine
    .updateTable('tasks')
    .set((eb) => ({ completed: eb.not('completed'), ...counted }))
    .where('id', '=', given.id)
    .where(hasVersion(given))
    .returning(withVersion),
)

const remove = statement((mine, given: Given<At>) =>
  mine.deleteFrom('tasks').where('id', '=', given.id).where(hasVersion(given)).returning('id'),
)

const stats = statement((mine) =>
  mine.selectFrom('tasks').select(({ fn }) => {
    const countOf = (condition: Expression<SqlBool>) => fn.countAll<number>().filterWhere(condition)
    return [
      fn.countAll<number>().as('total'),
      countOf(sql`completed`).as('completed'),
      countOf(isOverdue).as('overdue'),
      ...PRIORITIES.map((priority) => countOf(sql`priority = ${sql.lit(priority)}`).as(priority)),
      countOf(sql`priority is null`).as('none'),
    ]
  }),
)

const taskNotFound = () => new HttpProblem(404, 'task_not_found', 'Task not found')
const taskChanged = () =>
  new HttpProblem(412, 'precondition_failed', 'The task was changed meanwhile: read it again.')
/** The tasks of one user; many-tasks.ts has what changes several at once. Each call is one statement; another only says why it failed. */
export class Tasks {
  readonly #scope: UserScope

  constructor(scope: UserScope) {
    this.#scope = scope
  }

  /** A page, and the cursor of the next one, if there is more. */
  async list({
    skip,
    limit,
    cursor,
    chosen = ALL,
    sort = 'created_at',
    order = 'desc',
  }: TaskPage): Promise<{ tasks: Task[]; next?: string }> {
    // One row more than requested shows whether there is a next page.
    const page = { ...readCursor(sort, order, cursor), limit: limit + 1, skip }
    const tasks = await (sort === 'created_at' && order === 'desc' && !choosesAny(chosen)
      ? readPage(this.#scope, limit, list, page)
      : readPage(this.#scope, limit, lists[sort][order], { ...page, ...chosen }))
    if (tasks.length <= limit) return { tasks }
    tasks.length = limit
    return { tasks, next: cursorOf(sort, order, tasks[limit - 1] as Task) }
  }

  /** How many tasks `list` would find in all. */
  async count(chosen = ALL): Promise<number> {
    return (await readWhole(this.#scope, count, chosen)).total
  }

  /**
   * @param versions the only ones that will do; default any. So for every method with an id
   * @throws HttpProblem 404 task_not_found, as does every method with an id: no such task, or another user's; 412
   *   precondition_failed if it has another version
   */
  find(id: number, versions: Versions = null): Promise<Versioned<Task>> {
    return this.#one(find, { id, versions })
  }

  /** @param key of the request: if it was used before, the task that it made then comes back, as it was */
  create(task: NewTask, key?: string): Promise<Versioned<Task> & { replayed?: true }> {
    const values = { ...DEFAULTS, ...valuesIn(task) }
    if (key === undefined) return this.#scope.one(create, values)
    const again = ({ user_id, made, created_at }: First) => ({
      id: made,
      user_id,
      ...values,
      due_date: values.due_at,
      created_at,
      updated_at: created_at,
      version: 1,
    })
    return once(this.#scope, createOnce, values, key, again, comparable(values))
  }

  /** Changes only the fields given; with none, nothing. */
  async change(id: number, fields: TaskChange, versions: Versions = null): Promise<Versioned<Task>> {
    const values = valuesIn(fields)
    const sets = Object.keys(values)
    if (sets.length === 0) return this.find(id, versions)
    return this.#one(change, { id, versions, ...DEFAULTS, ...values, sets })
  }

  /** Flips `completed`, or sets it to the value given. */
  toggle(id: number, completed?: boolean, versions: Versions = null): Promise<Versioned<Task>> {
    return completed === undefined
      ? this.#one(toggle, { id, versions })
      : this.change(id, { completed }, versions)
  }

  async remove(id: number, versions: Versions = null): Promise<void> {
    await this.#one(remove, { id, versions })
  }

  async stats(): Promise<TaskStats> {
    const { total, completed, overdue, ...by_priority } = await readWhole(this.#scope, stats, {})
    return {
      total,
      completed,
      pending: total - completed,
      completion_rate: total === 0 ? 0 : Math.round((completed / total) * 10_000) / 100,
      overdue,
      by_priority,
    }
  }

  async #one<Values extends At, Row>(
    statement: Statement<Values, Row, 'owner'>,
    values: Values,
  ): Promise<Row> {
    const row = await this.#scope.first(statement, values)
    if (row !== undefined) return row
    if (values.versions) {
      await this.find(values.id)
      throw taskChanged()
    }
    throw taskNotFound()
  }
}
