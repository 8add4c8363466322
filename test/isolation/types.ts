// The first wall, checked by `npm run check`: each line marked below must fail to compile, or the check fails.
// everyday.test.ts has the statements that compile and that the guard refuses.
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Database } from '../../src/database/index.ts'
import {
  type Given,
  type Mine,
  type Owner,
  SharedScope,
  type Statement,
  UserScope,
} from '../../src/isolation/index.ts'
import { type OwnedTables, sharedStatement, statement } from '../../src/tables.ts'
import { Tasks } from '../../src/tasks.ts'
import '../../plugins/database.ts'

declare const database: Database
declare const scope: UserScope
declare const app: FastifyInstance
declare const request: FastifyRequest
declare const params: { user_id: string }

// A user-owned table is reached through `mine` alone, which starts from one user's rows.
statement((mine) => mine.selectFrom('tasks').select('id'))
// @ts-expect-error tables that belong to nobody come from elsewhere
statement((mine) => mine.selectFrom('accounts').selectAll())
// @ts-expect-error no statement without a table of the user
statement(() => undefined)

sharedStatement((db) => db.selectFrom('accounts').select('id'))
// @ts-expect-error and there no user-owned table is known
sharedStatement((db) => db.selectFrom('tasks').select('id'))
sharedStatement((db) =>
  // @ts-expect-error
  db.selectFrom('accounts').innerJoin('tasks', 'tasks.id', 'accounts.id').select('accounts.id'),
)

// A second user-owned table can be joined as the user's rows, not as a table.
statement((mine) =>
  mine
    .selectFrom('tasks')
    .innerJoin(mine.rows('tasks').select('id').as('other'), 'other.id', 'tasks.id')
    .select('tasks.id'),
)
declare const two: Mine<Pick<OwnedTables, 'tasks'> & { labels: OwnedTables['tasks'] }>
two.selectFrom('tasks').innerJoin(two.rows('labels').select('id').as('label'), 'label.id', 'tasks.id')
// @ts-expect-error
two.selectFrom('tasks').innerJoin('labels', 'labels.id', 'tasks.id')
// @ts-expect-error
two.selectFrom('tasks').select((eb) => eb.selectFrom('labels').select('title').limit(1).as('label'))
// @ts-expect-error
two.rows('tasks').innerJoin('labels', 'labels.id', 'tasks.id')
// @ts-expect-error
two.updateTable('tasks').from('labels')
// @ts-expect-error
two.deleteFrom('tasks').using('labels')

// The user is written by the scope: neither an insert nor an update can name one.
statement((mine) => mine.insertInto('tasks', { title: 'x', description: null }))
// @ts-expect-error
statement((mine) => mine.insertInto('tasks', { title: 'x', description: null, user_id: 'somebody' }))
// @ts-expect-error
statement((mine) => mine.updateTable('tasks').set({ user_id: 'somebody' }))
// @ts-expect-error nor can the id or a timestamp be chosen
statement((mine) => mine.insertInto('tasks', { title: 'x', description: null, id: 1 }))
// @ts-expect-error
statement((mine) => mine.updateTable('tasks').set({ created_at: '2026-01-01' }))

// A statement takes just its values, with their types.
const find = statement((mine, given: Given<{ id: number }>) =>
  mine.selectFrom('tasks').select('title').where('id', '=', given.id),
)
const title: Promise<string> = scope.one(find, { id: 1 }).then((row) => row.title)
// @ts-expect-error
scope.one(find, {})
// @ts-expect-error
scope.one(find, { id: '1' })
// @ts-expect-error a column that was not selected
scope.one(find, { id: 1 }).then((row) => row.description)

// Nothing else than a proved statement runs in a scope, and the scope's user cannot be read or changed.
// @ts-expect-error
scope.all({ ...find, sql: 'select * from tasks', bind: find.bind }, {})
// @ts-expect-error
new SharedScope(database).all(find, { id: 1 })
// @ts-expect-error
scope.userId = 'somebody'
// @ts-expect-error
void new Tasks(database)
// A handler cannot name a user: no string is one, and no object that only looks like a statement is run.
// @ts-expect-error
void new Tasks(new UserScope(database, params.user_id))
// @ts-expect-error
void database.run([{ name: '', sql: 'select * from tasks', parameters: [], writes: false }])
// @ts-expect-error
request.user.id = params.user_id
// @ts-expect-error
request.user.claims.sub = params.user_id
// @ts-expect-error
void new UserScope(database, { user_id: params.user_id } as Pick<Owner, never>)
// @ts-expect-error
void new UserScope(app.database, request.owner)
// @ts-expect-error
request.owner = params.user_id
// @ts-expect-error routes do not see what runs statements
void app.database.run
// @ts-expect-error a handler's tasks take no user
new Tasks(scope).list({ skip: 0, limit: 1, user_id: 'somebody' })
// @ts-expect-error the database gives out no query builder
database.kysely.selectFrom('tasks')

export type { Statement, title }
