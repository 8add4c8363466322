import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import pg from 'pg'
import t, { type Test } from 'tap'
import { type Database, OutcomeUnknownError } from '../../src/database/index.ts'
import { accountsWith, addTasks, PASSWORD, post, refresh, signUp } from '../helper/accounts.ts'
import { type App, build, identity } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { asRole } from '../helper/sql.ts'
import { refusal } from '../helper/http.ts'

const erase = (app: App, headers: Record<string, string>, payload?: object) =>
  app.inject({ method: 'DELETE', url: '/me', headers, payload })

t.test('erasure of more than is deleted at once', async (t) => {
  const db = await database()
  const app = await build(t)
  const addKeys = (user: string, count: number) =>
    asRole(
      db,
      { user },
      "insert into idempotency_keys (user_id, key, request, made) select $1, i, '', i from generate_series(1, $2::int) i returning 1",
      user,
      count,
    )
  const left = async (user: string) => {
    const sql = 'select (select count(*) from tasks) + (select count(*) from idempotency_keys) as n'
    return Number((await asRole(db, { user }, sql))[0]?.n)
  }
  /** An app that does something before each transaction that deletes. */
  const disturbed = async (t: Test, before: (transactions: number) => Promise<unknown>) => {
    let transactions = 0
    const run: Database['run'] = async (steps) => {
      if (steps.some(({ sql }) => sql.includes('delete from'))) await before((transactions += 1))
      return db.run(steps)
    }
    return { app: await build(t, { database: { ...db, run } }), transactions: () => transactions }
  }

  t.test('leaves nothing', async (t) => {
    const [ada, bob] = [await signUp(app), await signUp(app)]
    for (const { user } of [ada, bob]) {
      await addTasks(user.id, 4_500)
      await addKeys(user.id, 2_100)
    }
    const counting = await disturbed(t, async () => {})
    t.equal((await erase(counting.app, ada.headers, { password: PASSWORD })).statusCode, 200)
    t.ok(counting.transactions() > 4, `it takes ${counting.transactions()} transactions`)
    t.equal(await left(ada.user.id), 0, 'no row is left')
    t.equal(await left(bob.user.id), 6_600, 'others keep theirs')
    t.equal((await refresh(app, bob.refresh_token)).statusCode, 200, 'and their sign-in')
  })

  t.test('takes the account first, and goes on when it is repeated', async (t) => {
    for (const failing of [2, 3, 4]) {
      const ada = await signUp(app)
      await addTasks(ada.user.id, 6_500)
      const broken = await disturbed(t, async (transaction) => {
        if (transaction >= failing) throw new OutcomeUnknownError(new Error('Connection terminated'))
      })
      const refused = await erase(broken.app, ada.headers, { password: PASSWORD })
      t.strictSame(refusal(refused), [503, 'database_unavailable'], `transaction ${failing} fails`)
      t.ok(refused.headers['retry-after'], 'it says that it may be repeated')
      t.ok((await left(ada.user.id)) > 0, 'tasks are left')
      const credentials = { email: ada.email, password: PASSWORD }
      t.equal((await post(app, 'signin', credentials)).statusCode, 401, 'nobody signs in to what is left')
      t.equal((await refresh(app, ada.refresh_token)).statusCode, 401, 'nor with a refresh token')
      t.equal((await erase(app, ada.headers)).statusCode, 200, 'the token is enough to go on')
      t.equal(await left(ada.user.id), 0, 'no row is left')
    }
  })

  t.test('takes what the user writes meanwhile', async (t) => {
    const ada = await identity()
    await addTasks(ada.id, 2_500)
    const busy = await disturbed(t, async (transaction) => {
      if (transaction === 2) await addTasks(ada.id, 2_500)
      if (transaction === 3) await addKeys(ada.id, 3)
    })
    t.equal((await erase(busy.app, ada.headers)).statusCode, 200)
    t.equal(await left(ada.id), 0, 'no row is left')
  })

  const skip = !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'
  t.test('is not done before another one that is under way', { skip }, async (t) => {
    const ada = await identity()
    await addTasks(ada.id, 4_500)
    // In an object, or the transaction would wait for the answer.
    const { answer } = await db.asLogin((login) =>
      login.transaction().execute(async (trx) => {
        await sql`delete from tasks where user_id = ${ada.id}
          and id in (select id from tasks where user_id = ${ada.id} order by id desc limit 2000)`.execute(trx)
        const answer = erase(app, ada.headers).then(({ statusCode }) => statusCode)
        await sleep(300) // it waits for these rows
        return { answer }
      }),
    )
    t.equal(await answer, 200)
    t.equal(await left(ada.id), 0, 'no row is left')
  })

  t.test('is not done while a row that was added meanwhile keeps others', { skip }, async (t) => {
    const ada = await identity()
    await addTasks(ada.id, 3)
    // In an object, or the transaction would wait for the answer.
    const { answer } = await db.asLogin((login) =>
      login.transaction().execute(async (trx) => {
        await sql`lock table tasks in exclusive mode`.execute(trx)
        const answer = erase(app, ada.headers).then(({ statusCode }) => statusCode)
        await sleep(300) // it has deleted the keys, and waits for the tasks
        await addKeys(ada.id, 1)
        return { answer }
      }),
    )
    t.equal(await answer, 200)
    t.equal(await left(ada.id), 0, 'no row is left')
  })

  t.test('goes on where a row that was added meanwhile refers to another', async (t) => {
    for (const [code, failures, status] of [
      ['23503', 3, 200],
      ['40P01', 3, 200],
      ['23503', Infinity, 409],
    ] as const) {
      const ada = await signUp(app)
      await addTasks(ada.user.id, 2_500)
      const refusing = await disturbed(t, async (transaction) => {
        if (transaction <= failures)
          throw Object.assign(new pg.DatabaseError('refused', 0, 'error'), { code })
      })
      const erased = await erase(refusing.app, ada.headers, { password: PASSWORD })
      t.equal(erased.statusCode, status, `${code}, ${failures} times, is ${status}`)
      t.equal(await left(ada.user.id), status === 200 ? 0 : 2_500, 'and so many rows are left')
      t.equal((await accountsWith('id', ada.user.id)).length, status === 200 ? 0 : 1, 'and the account')
    }
  })

  t.test('may be asked for twice at once', async (t) => {
    const ada = await signUp(app)
    await addTasks(ada.user.id, 9_000)
    await Promise.all(
      [1, 2, 3].map(async () => {
        t.equal((await erase(app, ada.headers, { password: PASSWORD })).statusCode, 200)
        t.equal(await left(ada.user.id), 0, 'no row is left')
      }),
    )
  })
})
