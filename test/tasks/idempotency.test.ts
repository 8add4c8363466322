import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import type { Task } from '../../schemas/task.ts'
import { connect, type Database } from '../../src/database/index.ts'
import { totalOf } from '../helper/accounts.ts'
import { type App, build, identity, type Identity } from '../helper/app.ts'
import { database, migratedUrl } from '../helper/database.ts'
import { expectProblem } from '../helper/http.ts'
import { openProxy } from '../helper/proxy.ts'
import { asRole, failing } from '../helper/sql.ts'

// CUTS=1000 makes the test of lost connections long.
const CUTS = Number(process.env.CUTS ?? 40)

const post = (app: App, user: Identity, payload: object, key?: string, url = '/todos') =>
  app.inject({
    method: 'POST',
    url,
    headers: { ...user.headers, ...(key !== undefined && { 'idempotency-key': key }) },
    payload,
  })

/** What a client sees of an answer. */
const seen = ({ statusCode, body, headers: { etag, location } }: Response) => ({
  statusCode,
  body,
  etag,
  location,
})
const replayed = ({ headers }: Response) => headers['idempotency-replayed']

/** Raw SQL over the user's keys. */
const keysOf = async (user: Identity, text = 'select * from idempotency_keys') =>
  asRole(await database(), { user: user.id }, text)

t.test('a request that is repeated with its key is done once, and answered the same', async (t) => {
  const app = await build(t)
  const prefixes = ['/todos', '/api/:id/tasks', '/api/user/:id/tasks', '/api/tasks', '/api/todos']
  for (const prefix of prefixes) {
    const user = await identity()
    const url = prefix.replace(':id', user.id)
    const body = { title: 'Buy milk', description: 'Two litres' }
    const key = randomUUID()
    const first = await post(app, user, body, key, url)
    t.equal(first.statusCode, 201, `${prefix}: the first is 201`)
    t.equal(replayed(first), undefined, 'and new')
    for (const again of [key, `"${key}"`, key]) {
      const repeated = await post(app, user, body, again, url)
      t.same(seen(repeated), seen(first), 'the answer is the same to the byte')
      t.equal(replayed(repeated), 'true', 'and says that it is repeated')
    }
    t.same((await app.inject({ url, headers: user.headers })).json(), [first.json()], 'there is one task')
    const other = await post(app, user, body, randomUUID(), url)
    t.not(other.json<Task>().id, first.json<Task>().id, 'another key makes another task')
  }
})

t.test('without a key nothing is different', async (t) => {
  const app = await build(t)
  const user = await identity()
  const first = await post(app, user, { title: 'x' })
  const second = await post(app, user, { title: 'x' })
  t.not(second.json<Task>().id, first.json<Task>().id, 'two requests make two tasks')
  t.equal(replayed(second), undefined, 'neither is a repetition')
  t.same(await keysOf(user), [], 'nothing is kept')
  const at = `/todos/${first.json<Task>().id}`
  const headers = { ...user.headers, 'idempotency-key': 'k' }
  const toggle = () => app.inject({ method: 'PATCH', url: `${at}/toggle`, headers })
  t.equal((await toggle()).json<Task>().completed, true, 'where it means nothing, a key is ignored')
  t.equal((await toggle()).json<Task>().completed, false, 'each time')
})

t.test('50 at once make one task', async (t) => {
  const app = await build(t)
  const user = await identity()
  for (let round = 0; round < 5; round++) {
    const key = randomUUID()
    const before = await totalOf(app, user.headers)
    const answers = await Promise.all(Array.from({ length: 50 }, () => post(app, user, { title: 'x' }, key)))
    t.equal(new Set(answers.map((answer) => JSON.stringify(seen(answer)))).size, 1, 'all have one answer')
    t.equal(answers[0]?.statusCode, 201, 'which is 201')
    t.equal(answers.filter((answer) => replayed(answer) === undefined).length, 1, 'one of them is new')
    t.equal((await totalOf(app, user.headers)) - before, 1, 'there is one task more')
  }
})

t.test('a key belongs to its request', async (t) => {
  const app = await build(t)
  const user = await identity()
  const key = randomUUID()
  const first = await post(app, user, { title: 'x', completed: false }, key)
  for (const same of [{ completed: false, title: 'x' }, { title: 'x' }, { title: 'x', description: null }])
    t.same(seen(await post(app, user, same, key)), seen(first), `${JSON.stringify(same)} says the same`)
  for (const other of [
    { title: 'X' },
    { title: 'x', completed: true },
    { title: 'x', description: '' },
    { title: 'x', description: 'null' },
  ]) {
    const refused = await post(app, user, other, key)
    expectProblem(t, refused, 422, 'idempotency_key_reused')
    t.same(refused.json().errors[0].loc, ['header', 'idempotency-key'], 'with its place')
    t.equal(replayed(refused), undefined, 'it is no repetition')
  }
  t.equal(await totalOf(app, user.headers), 1, 'no other task was made')
})

t.test('a key belongs to its user', async (t) => {
  const app = await build(t)
  const [ada, bob] = [await identity(), await identity()]
  const key = randomUUID()
  const hers = await post(app, ada, { title: 'hers' }, key)
  const his = await post(app, bob, { title: 'his' }, key)
  t.match([his.statusCode, his.json()], [201, { title: 'his', user_id: bob.id }], "Bob's key is his own")
  t.equal(replayed(his), undefined, 'and new')
  t.same(seen(await post(app, ada, { title: 'hers' }, key)), seen(hers), 'hers still stands for hers')
  t.match(await keysOf(bob), [{ user_id: bob.id }], 'and no statement sees both')
})

t.test('the answer stays the same when the task is changed or deleted', async (t) => {
  const app = await build(t)
  const user = await identity()
  const key = randomUUID()
  const first = await post(app, user, { title: 'x' }, key)
  const at = { url: String(first.headers.location), headers: user.headers }
  await app.inject({ ...at, method: 'PATCH', payload: { title: 'y' } })
  t.same(seen(await post(app, user, { title: 'x' }, key)), seen(first), 'changed')
  await app.inject({ ...at, method: 'DELETE' })
  const repeated = await post(app, user, { title: 'x' }, key)
  t.same(seen(repeated), seen(first), 'deleted')
  t.equal(replayed(repeated), 'true', 'and it is a repetition')
  t.equal(await totalOf(app, user.headers), 0, 'the task stays deleted')
})

t.test('which keys there are', async (t) => {
  const app = await build(t)
  const user = await identity()
  const keys: [sent: string, kept: string][] = [
    ['k', 'k'],
    ['"quoted"', 'quoted'],
    [String.raw`"a \"b\" \\c"`.replaceAll(' ', '-'), String.raw`a-"b"-\c`],
    ["!#$%&'()*+,-./:;<=>?@[]^_`{|}~", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"],
    ['__proto__', '__proto__'],
    ["'; drop table tasks; --".replaceAll(' ', '/'), "';/drop/table/tasks;/--"],
    ['x'.repeat(255), 'x'.repeat(255)],
    [`"${'y'.repeat(255)}"`, 'y'.repeat(255)],
  ]
  for (const [sent, kept] of keys) {
    t.equal((await post(app, user, { title: 'x' }, sent)).statusCode, 201, sent)
    t.equal(replayed(await post(app, user, { title: 'x' }, kept.startsWith('"') ? sent : kept)), 'true', kept)
  }
  t.same(
    (await keysOf(user)).map(({ key }) => key),
    keys.map(([, kept]) => kept),
    'as they are kept',
  )
  const made = await totalOf(app, user.headers)
  for (const key of ['', '""', '"', '"a', 'a b', '"a b"', '"a"b"', String.raw`"\a"`, 'é', '"a";b=1']) {
    const refused = await post(app, user, { title: 'x' }, key)
    expectProblem(t, refused, 422, 'validation_failed', key)
    t.same(refused.json().errors[0].loc, ['header', 'idempotency-key'], 'with its place')
  }
  for (const key of ['x'.repeat(256), `"${'x'.repeat(256)}"`])
    expectProblem(t, await post(app, user, { title: 'x' }, key), 422, 'validation_failed', '256 characters')
  t.equal(await totalOf(app, user.headers), made, 'nothing is made with a key that is none')
})

t.test('a key is kept for 24 hours', async (t) => {
  const app = await build(t)
  const [user, other] = [await identity(), await identity()]
  const [key, another] = [randomUUID(), randomUUID()]
  const age = (whose: Identity, hours: number) =>
    keysOf(whose, `update idempotency_keys set created_at = now() - interval '${hours} hours' returning key`)
  for (const [whose, named] of [
    [user, key],
    [user, another],
    [other, key],
  ] as const)
    await post(app, whose, { title: 'x' }, named)

  await age(user, 23.9)
  t.equal(replayed(await post(app, user, { title: 'x' }, key)), 'true', 'it is still known')
  await age(user, 24.1)
  await age(other, 24.1)
  const anew = await post(app, user, { title: 'other' }, key)
  t.equal(anew.statusCode, 201, 'then it may stand for something else')
  t.equal(replayed(anew), undefined, 'which is new')
  t.match(await keysOf(user), [{ key }], 'the old ones of the user are gone')
  t.equal((await keysOf(user)).length, 1, 'all of them')
  t.equal((await keysOf(other)).length, 1, "another user's wait for that user")
})

t.test('task and key are kept together or not at all', async (t) => {
  const db = await database()
  const user = await identity()
  for (const at of [0, 1, 2]) {
    const run: Database['run'] = (steps) =>
      steps.length < 2 ? db.run(steps) : db.run(steps.toSpliced(at, 0, failing(db)))
    const broken = await build(t, { database: { ...db, run } })
    expectProblem(t, await post(broken, user, { title: 'x' }, 'k'), 500, 'internal_error')
    t.same(await keysOf(user), [], `a failure at step ${at} leaves no key`)
  }
  const app = await build(t)
  t.equal(await totalOf(app, user.headers), 0, 'and no task')
  t.equal(replayed(await post(app, user, { title: 'x' }, 'k')), undefined, 'the key is still good')
})

t.test('the keys go with their user', async (t) => {
  const app = await build(t)
  const [ada, bob] = [await identity(), await identity()]
  for (const user of [ada, bob]) await post(app, user, { title: 'x' }, 'k')
  const { idempotency_keys: exported } = (
    await app.inject({ url: '/me/export', headers: ada.headers })
  ).json()
  t.match(exported, [{ user_id: ada.id, key: 'k' }], 'the export has them')
  t.notMatch(JSON.stringify(exported), /title|"x"/, 'with no text of the task')
  t.equal(
    (await app.inject({ method: 'DELETE', url: '/me', headers: ada.headers })).statusCode,
    200,
    'erased',
  )
  t.same(await keysOf(ada), [], 'none is left')
  t.equal((await keysOf(bob)).length, 1, "but another user's")
  t.equal(replayed(await post(app, ada, { title: 'x' }, 'k')), undefined, 'the key is free again')
})

const skip = !process.env.TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'

t.test(`${CUTS} lost connections, and no task twice`, { skip }, async (t) => {
  const url = await migratedUrl()
  const proxy = await openProxy(t, url)
  const [cut, direct] = await Promise.all([
    connect({ url: proxy.url, poolMax: 4 }),
    connect({ url, poolMax: 2 }),
  ])
  t.teardown(() => Promise.all([cut.close(), direct.close()]))
  const app = await build(t, { database: cut })
  const reader = await build(t, { database: direct })
  const user = await identity()

  const run = { over: false, made: 0 }
  let failed = 0
  let late = 0
  const write = async (): Promise<void> => {
    while (!run.over) {
      const title = `task ${run.made++}`
      const key = randomUUID()
      let response = await post(app, user, { title }, key)
      for (; response.statusCode !== 201; response = await post(app, user, { title }, key)) {
        failed += 1
        expectRepeatable(t, response)
        await sleep(5)
      }
      if (replayed(response)) late += 1
      if (response.json<Task>().title !== title) t.fail('the answer is for another request')
    }
  }
  const writers = Promise.all(Array.from({ length: 8 }, write))
  for (let cuts = 0; cuts < CUTS; cuts++) {
    const before = run.made
    do await sleep(Math.random() * 12)
    while (run.made === before)
    proxy.unblock() // drops every connection
  }
  run.over = true
  await writers
  const rows = await asRole(
    direct,
    { user: user.id },
    'select title, count(*)::int as n from tasks group by title',
  )
  t.equal(rows.length, run.made, 'each task is there')
  t.same(
    rows.filter(({ n }) => n !== 1),
    [],
    'and none twice',
  )
  t.equal(await totalOf(reader, user.headers), run.made, 'in all')
  t.ok(failed > 0, `${run.made} tasks, ${failed} requests failed, ${late} of them had been done`)
})

function expectRepeatable(t: Test, response: Response): void {
  if (response.statusCode === 503 && response.headers['retry-after']) return
  expectProblem(t, response, 503, 'database_unavailable')
  t.ok(response.headers['retry-after'], 'it may be repeated')
}
