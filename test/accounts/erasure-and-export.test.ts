import t from 'tap'
import type { Task } from '../../schemas/task.ts'
import type { Database } from '../../src/database/index.ts'
import { isolation } from '../../src/tables.ts'
import {
  accountsWith,
  addTasks,
  PASSWORD,
  person,
  post,
  refresh,
  signIn,
  signUp,
  tokensOf,
  totalOf,
} from '../helper/accounts.ts'
import { type App, build, identity } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { asRole, failing } from '../helper/sql.ts'
import { refusal } from '../helper/http.ts'

const erase = (app: App, headers: Record<string, string>, payload?: object) =>
  app.inject({ method: 'DELETE', url: '/me', headers, payload })

t.test('erasure', async (t) => {
  const app = await build(t)

  t.test('of a local account needs its password', async (t) => {
    const [ada, bob] = [await signUp(app), await signUp(app)]
    const phone = await signIn(app, ada)
    for (const { user } of [ada, bob]) await addTasks(user.id, 3)
    for (const payload of [undefined, {}, { password: 'not the password' }, { password: 'é'.repeat(60) }]) {
      t.strictSame(
        refusal(await erase(app, ada.headers, payload)),
        [401, 'invalid_credentials'],
        `refused with ${JSON.stringify(payload)}`,
      )
    }
    t.equal((await erase(app, ada.headers, { password: '' })).statusCode, 422, 'an empty password is 422')
    t.equal((await erase(app, {}, { password: PASSWORD })).statusCode, 401, 'and a token')
    t.equal(await totalOf(app, ada.headers), 3, 'the tasks are still there')
    t.equal((await tokensOf(ada.user.id)).length, 2, 'the refresh tokens are still there')

    const erased = await erase(app, ada.headers, { password: PASSWORD })
    t.equal(erased.statusCode, 200, 'with the password it is 200')
    t.strictSame(erased.json(), { message: 'Account deleted successfully' }, 'the answer says so')
    t.equal(await totalOf(app, ada.headers), 0, 'no task is left')
    t.strictSame(await accountsWith('id', ada.user.id), [], 'no account is left')
    t.strictSame(await tokensOf(ada.user.id), [], 'no refresh token is left')
    t.equal(
      (await post(app, 'signin', { email: ada.email, password: PASSWORD })).statusCode,
      401,
      'nobody can sign in',
    )
    for (const { refresh_token } of [ada, phone])
      t.equal((await refresh(app, refresh_token)).statusCode, 401, 'no refresh token works')

    t.equal(await totalOf(app, bob.headers), 3, 'others keep theirs')
    t.equal((await refresh(app, bob.refresh_token)).statusCode, 200, 'the refresh token of another works')
    const again = await signUp(app, { ...person(), email: ada.email })
    t.not(again.user.id, ada.user.id, 'the address is free again')
  })

  t.test('is all or nothing', async (t) => {
    const db = await database()
    const ada = await signUp(app)
    await addTasks(ada.user.id, 3)
    for (const at of [0, 1, 2]) {
      let failed = 0
      const run: Database['run'] = (steps) => {
        if (steps.length < 2) return db.run(steps)
        failed += 1
        return db.run(steps.toSpliced(at, 0, failing(db)))
      }
      const broken = await build(t, { database: { ...db, run } })
      t.equal(
        (await erase(broken, ada.headers, { password: PASSWORD })).statusCode,
        500,
        `a failure at step ${at} is 500`,
      )
      t.equal(failed, 1, 'account and tasks are deleted in one transaction')
      t.equal(await totalOf(app, ada.headers), 3, 'the tasks are still there')
      t.equal((await accountsWith('id', ada.user.id)).length, 1, 'the account is still there')
      t.equal((await tokensOf(ada.user.id)).length, 1, 'the refresh token is still there')
    }
    t.equal((await refresh(app, ada.refresh_token)).statusCode, 200, 'the refresh token works')
  })

  t.test('of a Better Auth user needs only the token', async (t) => {
    const [ada, bob] = [await identity(), await identity()]
    for (const { id } of [ada, bob]) await addTasks(id, 3)
    t.equal((await erase(app, ada.headers)).statusCode, 200, 'the token is enough')
    t.equal(await totalOf(app, ada.headers), 0, 'no task is left')
    t.equal(await totalOf(app, bob.headers), 3, 'others keep theirs')
    t.equal((await erase(app, ada.headers, { password: 'whatever' })).statusCode, 200, 'again')
  })
})

t.test('export', async (t) => {
  const app = await build(t)
  const [ada, bob] = [await signUp(app), await identity()]
  await addTasks(ada.user.id, 1200)
  await addTasks(bob.id, 2)

  const response = await app.inject({ url: '/me/export', headers: ada.headers })
  t.equal(response.statusCode, 200, 'an export is 200')
  t.equal(response.headers['content-type'], 'application/json; charset=utf-8', 'it is JSON')
  t.equal(response.headers['cache-control'], 'no-store', 'no cache stores it')
  const { user, account, tasks, ...rest } = response.json()
  const others = isolation.tables.map(({ name }) => name).filter((name) => name !== 'tasks')
  t.strictSame(rest, Object.fromEntries(others.map((name) => [name, []])), 'it has no other part but tables')
  t.strictSame(user, { id: ada.user.id, email: ada.email }, 'whose it is')
  t.match(account.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'the account has its date')
  t.strictSame(account, { ...ada.user, created_at: account.created_at }, 'no password, no hash')
  t.equal(new Set(tasks.map(({ id }: Task) => id)).size, 1200, 'every task is there once')
  t.ok(
    tasks.every(({ user_id }: Task) => user_id === ada.user.id),
    "every task is the user's",
  )
  const list = (await app.inject({ url: '/todos', headers: ada.headers })).json<Task[]>()
  const { due_date: _, ...first } = list[0] as Task // another name, of a column that is there
  const shown = Object.keys(first)
  t.strictSame(
    tasks.slice(0, 100).map((task: Record<string, unknown>) => shown.map((field) => task[field])),
    list.map((task) => shown.map((field) => task[field as keyof Task])),
    'tasks are as in a list',
  )
  const columns = await asRole(
    await database(),
    {},
    "select attname as name from pg_attribute where attrelid = 'tasks'::regclass and attnum > 0 and not attisdropped",
  )
  t.strictSame(
    Object.keys(tasks[0]).toSorted(),
    columns.map(({ name }) => name).toSorted(),
    'each has every column of the table, and nothing else',
  )

  const other = (await app.inject({ url: '/me/export', headers: bob.headers })).json()
  t.match(
    other,
    { user: { id: bob.id, email: bob.email }, account: null },
    'a Better Auth user has no account',
  )
  t.equal(other.tasks.length, 2, 'a Better Auth user has their tasks')
  const none = await app.inject({ url: '/me/export', headers: (await identity()).headers })
  t.strictSame(none.json().tasks, [], 'a user without tasks has an empty list')
  t.equal((await app.inject('/me/export')).statusCode, 401, 'an export needs a token')
})
