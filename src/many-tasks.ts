import { type Compilable, sql } from 'kysely'
import { DEFAULTS, FIELDS, valuesIn } from '../schemas/task-fields.ts'
import type { Affected, NewTasks, Task, TaskChange } from '../schemas/task.ts'
import { sqlStateOf } from './database/index.ts'
import type { Given, UserScope } from './isolation/index.ts'
import { readPage } from './large-reads.ts'
import { unavailable, validationFailed } from './problem.ts'
import { statement } from './tables.ts'
import { type Chosen, chosen } from './task-filters.ts'
import { type Change, changed } from './tasks.ts'

const fields = sql.join(FIELDS.map((field) => sql.ref(field)))
const createAll = statement(
  ({ owner }, { tasks }: Given<{ tasks: string }>) => sql<Task>`insert into tasks (user_id, ${fields})
    select ${owner.user_id}, ${fields} from jsonb_populate_recordset(null::tasks, ${tasks})
    returning id, user_id, ${fields}, due_at as due_date, created_at, updated_at`,
)

const affected = (query: Compilable, { by_ids }: Given<Chosen>) => sql<Affected>`
  with affected as (${query})
  select count(*) as count, to_json(array(select unnest(${by_ids}::bigint[]) except select id from affected order by 1)) as missing
  from affected`
const changeAll = statement((mine, given: Given<Change & Chosen>) =>
  affected(mine.updateTable('tasks').set(changed(given)).where(chosen(given)).returning('id'), given),
)
const removeAll = statement((mine, given: Given<Chosen>) =>
  affected(mine.deleteFrom('tasks').where(chosen(given)).returning('id'), given),
)

/** An export has numbers; what others send as an id may be anything. */
const placeOf = ({ id }: NewTasks[number]): number => (typeof id === 'number' ? id : 0)

const nothingToChange = () =>
  validationFailed([{ loc: ['body'], msg: 'must have a field to change', type: 'required' }])

/** So many that they take longer than a statement may will take longer each time. */
const tooSlow = (error: unknown): never => {
  if (sqlStateOf(error) !== '57014') throw error
  const detail =
    'It took too long, so nothing was done. Try again, or choose fewer tasks: up to 1,000 by ids.'
  throw unavailable('database_unavailable', detail, error)
}

/** Several tasks of one user at once: each call is one statement, which does all of it or nothing. */
export class ManyTasks {
  readonly #scope: UserScope

  constructor(scope: UserScope) {
    this.#scope = scope
  }

  /** All of them, in this order, or none; those of an export in the order of their ids. */
  create(tasks: NewTasks): Promise<Task[]> {
    const rows = tasks
      .toSorted((a, b) => placeOf(a) - placeOf(b))
      .map((task) => ({ ...DEFAULTS, ...valuesIn(task) }))
    return readPage(this.#scope, rows.length, createAll, { tasks: JSON.stringify(rows) })
  }

  /**
   * Changes the fields given of all tasks that are chosen, or of none.
   * @throws HttpProblem 503 database_unavailable if that takes too long; so does `remove`
   */
  change(chosen: Chosen, fields: TaskChange): Promise<Affected> {
    const values = valuesIn(fields)
    const sets = Object.keys(values)
    if (sets.length === 0) throw nothingToChange()
    return this.#scope.one(changeAll, { ...chosen, ...DEFAULTS, ...values, sets }).catch(tooSlow)
  }

  /** Removes all tasks that are chosen, or none. */
  remove(chosen: Chosen): Promise<Affected> {
    return this.#scope.one(removeAll, chosen).catch(tooSlow)
  }
}
