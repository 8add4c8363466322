import { sql } from 'kysely'
import type { NewTask, Task, TaskChange, TaskStats } from '../schemas/task.ts'
import { insertOnce, once } from './idempotency.ts'
import type { Given, Statement, UserScope } from './isolation/index.ts'
import { readPage } from './large-reads.ts'
import { HttpProblem, validationFailed } from './problem.ts'
import { type Mine, statement } from './tables.ts'
import type { TaskPage } from './task-query.ts'

type Page = { before: number; limit: number; skip: number }
/** Those that will do; null for any. */
type Versions = readonly string[] | null
type At = { id: number; versions: Versions }
type Versioned<T> = T & { version: number }

const columns = ['id', 'user_id', 'title', 'description', 'completed', 'created_at', 'updated_at'] as const
const withVersion = [...columns, 'version'] as const
/** What every change does besides. */
const changed = { updated_at: sql<string>`now()`, version: sql<number>`version + 1` }
const isAt = ({ versions }: Given<At>) => sql<boolean>`coalesce(version::text = any(${versions}), true)`

// The last id of the previous page; the first page starts after every id.
const FROM_THE_START = Number.MAX_SAFE_INTEGER + 1
const pageOf = (mine: Mine, { before, limit, skip }: Given<Page>) =>
  mine
    .selectFrom('tasks')
    .select(columns)
    .where('id', '<', before)
    .orderBy('id', 'desc')
    .limit(limit)
    .offset(skip)

const list = statement((mine, given: Given<Page>) => pageOf(mine, given))

const listByCompleted = statement((mine, given: Given<Page & { completed: boolean }>) =>
  pageOf(mine, given).where('completed', '=', given.completed),
)

const find = statement((mine, given: Given<At>) =>
  mine.selectFrom('tasks').select(withVersion).where('id', '=', given.id).where(isAt(given)),
)

const insert = (mine: Mine, { title, description, completed }: Given<Required<NewTask>>) =>
  mine.insertInto('tasks', { title, description, completed }).returning(withVersion)
const create = statement(insert)
const createOnce = insertOnce('tasks', insert)

// A field that was not sent arrives as null; `description` may be set to null, so it needs a flag of its own.
type Change = {
  title: string | null
  description: string | null
  setsDescription: boolean
  completed: boolean | null
}
const change = statement((mine, given: Given<At & Change>) =>
  mine
    .updateTable('tasks')
    .set((eb) => ({
      title: eb.fn.coalesce(given.title, 'title'),
      description: eb
        .case()
        .when(given.setsDescription)
        .then(given.description)
        .else(eb.ref('description'))
        .end(),
      completed: eb.fn.coalesce(given.completed, 'completed'),
      ...changed,
    }))
    .where('id', '=', given.id)
    .where(isAt(given))
    .returning(withVersion),
)

const toggle = statement((mine, given: Given<At>) =>
  mine
    .updateTable('tasks')
    .set((eb) => ({ completed: eb.not('completed'), ...changed }))
    .where('id', '=', given.id)
    .where(isAt(given))
    .returning(withVersion),
)

const remove = statement((mine, given: Given<At>) =>
  mine.deleteFrom('tasks').where('id', '=', given.id).where(isAt(given)).returning('id'),
)

const count = statement((mine) =>
  mine
    .selectFrom('tasks')
    .select(({ fn }) => [
      fn.countAll<number>().as('total'),
      fn.countAll<number>().filterWhere('completed', '=', true).as('completed'),
    ]),
)

const taskNotFound = () => new HttpProblem(404, 'task_not_found', 'Task not found')
const taskChanged = () =>
  new HttpProblem(412, 'precondition_failed', 'The task was changed meanwhile: read it again.')

// Opaque to clients: its meaning may change.
const cursorOf = ({ id }: Task): string => id.toString(36)

function readCursor(cursor: string): number {
  const id = Number.parseInt(cursor, 36)
  if (id > 0 && id <= Number.MAX_SAFE_INTEGER && id.toString(36) === cursor) return id
  throw validationFailed([{ loc: ['query', 'cursor'], msg: 'is not from a Link header', type: 'cursor' }])
}

/** The tasks of one user, and the only way to the tasks table. Each call is one statement; another only says why it failed. */
export class Tasks {
  readonly #scope: UserScope

  constructor(scope: UserScope) {
    this.#scope = scope
  }

  /** A page, newest first, and the cursor of the next one, if there is more. */
  async list({ skip, limit, completed, cursor }: TaskPage): Promise<{ tasks: Task[]; next?: string }> {
    // One row more than requested shows whether there is a next page.
    const page = {
      before: cursor === undefined ? FROM_THE_START : readCursor(cursor),
      limit: limit + 1,
      skip,
    }
    const tasks = await (completed === undefined
      ? readPage(this.#scope, limit, list, page)
      : readPage(this.#scope, limit, listByCompleted, { ...page, completed }))
    if (tasks.length <= limit) return { tasks }
    tasks.length = limit
    return { tasks, next: cursorOf(tasks[limit - 1] as Task) }
  }

  /** How many tasks `list` would find in all. */
  async count({ completed }: Pick<TaskPage, 'completed'>): Promise<number> {
    const stats = await this.stats()
    if (completed === undefined) return stats.total
    return completed ? stats.completed : stats.pending
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
  create(
    { title, description = null, completed = false }: NewTask,
    key?: string,
  ): Promise<Versioned<Task> & { replayed?: true }> {
    const values = { title, description, completed }
    if (key === undefined) return this.#scope.one(create, values)
    return once(this.#scope, createOnce, values, key, ({ user_id, made, created_at }) => ({
      id: made,
      user_id,
      ...values,
      created_at,
      updated_at: created_at,
      version: 1,
    }))
  }

  /** Changes only the fields given; with none, nothing. */
  async change(id: number, fields: TaskChange, versions: Versions = null): Promise<Versioned<Task>> {
    if (Object.keys(fields).length === 0) return this.find(id, versions)
    const { title = null, description = null, completed = null } = fields
    const setsDescription = fields.description !== undefined
    return this.#one(change, { id, versions, title, description, setsDescription, completed })
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
    const { total, completed } = await this.#scope.one(count, {})
    const completion_rate = total === 0 ? 0 : Math.round((completed / total) * 10_000) / 100
    return { total, completed, pending: total - completed, completion_rate }
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
