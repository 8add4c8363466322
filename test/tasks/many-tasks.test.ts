import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { Affected, Task } from '../../schemas/task.ts'
import type { Database } from '../../src/database/index.ts'
import { build, identity, type Identity } from '../helper/app.ts'
import { ROOT } from '../helper/child.ts'
import { database } from '../helper/database.ts'
import { expectProblem, serve } from '../helper/http.ts'

async function client(t: Test, user?: Identity, db?: Database) {
  const app = await build(t, { database: db })
  const { headers } = user ?? (await identity())
  const send = (method: InjectOptions['method'], url: string, payload?: unknown, more: object = {}) =>
    app.inject({
      method,
      url,
      headers: { ...headers, 'content-type': 'application/json', ...more },
      ...(payload !== undefined && { payload: JSON.stringify(payload) }),
    })
  return {
    send,
    make: async (...tasks: object[]) => (await send('POST', '/todos/bulk', tasks)).json<Task[]>(),
    all: async () => (await send('GET', '/todos?limit=1000')).json<Task[]>().toReversed(),
  }
}

t.test('up to 1,000 are created, or none', async (t) => {
  const { send, all } = await client(t)
  const sent = Array.from({ length: 1000 }, (_, i) => ({
    title: `t${i}`,
    due_date: '2026-12-01',
    tags: [`${i}`, ''],
  }))
  const made = await send('POST', '/todos/bulk', sent)
  t.equal(made.statusCode, 201, 'a thousand are')
  const tasks = made.json<Task[]>()
  t.same(
    tasks.map(({ title, tags }) => [title, ...tags]),
    sent.map(({ title, tags: [tag] }) => [title, tag]),
    'in this order',
  )
  t.same(await all(), tasks, 'and they are there, as they were answered')
  t.same((await send('POST', '/todos/bulk', [])).json(), [], 'none are none')

  for (const [payload, status, told] of [
    [[...sent, { title: 'one more' }], 422, 'body must have at most 1000 item(s)'],
    [[{ title: 'x' }, { title: '' }], 422, '1.title must have at least 1 character (and 1 more in errors)'],
    [[{ title: 'x' }, { title: 'x', colour: 'red' }], 422, '1.colour is unknown'],
    [[{ title: 'x', project: 1 }], 422, '0.project is unknown'],
    [[{ title: 'x', toString: 1 }], 422, '0.toString is unknown'],
    // One fault, not one for each item.
    [Array.from({ length: 1_000_000 }, () => 1), 422, 'body must have at most 1000 item(s)'],
    [[{ title: 'x', tags: Array(1_000_000).fill(1) }], 422, '0.tags must have at most 20 item(s)'],
    // What takes the square of its length takes for ever.
    [
      [{ title: 'x', tags: [`${' '.repeat(4_000_000)}${'x'.repeat(51)}`] }],
      422,
      '0.tags.0 must have at most 50 characters, and no control characters',
    ],
    [{ title: 'x' }, 422, 'body must be a list'],
    [{ tasks: 'x' }, 422, 'body must be a list'],
    [null, 422, 'body must be a list'],
    [[[]], 422, '0 must be an object'],
    [['x'.repeat(4 << 20)], 413, 'The body is too large.'],
  ] as const) {
    const refused = await send('POST', '/todos/bulk', payload)
    t.same([refused.statusCode, refused.json().detail], [status, told], told)
  }
  t.equal((await all()).length, 1000, 'and nothing was made')
  const large = Array.from({ length: 1000 }, () => ({
    title: 'x'.repeat(255),
    description: 'y'.repeat(1000),
    tags: Array.from({ length: 20 }, (_, i) => `${i}`.padEnd(50, 'z')),
  }))
  t.equal(
    (await send('POST', '/todos/bulk', large)).statusCode,
    201,
    'nor is one with every field at its most too large',
  )
})

t.test('an export is taken back', async (t) => {
  const { send, make, all } = await client(t)
  await make(
    { title: 'first', priority: 'high', due_at: '2026-12-01', tags: ['a', 'b'] },
    { title: 'second', description: 'y', completed: true },
  )
  await send('PATCH', '/todos?completed=false', { title: 'changed' })
  const before = await all()
  const exported = (await send('GET', '/me/export')).json()
  t.equal(
    (await send('DELETE', `/todos?ids=${before.map(({ id }) => id)}`)).json<Affected>().count,
    2,
    'all are gone',
  )
  const back = await send('POST', '/todos/bulk', exported)
  t.equal(back.statusCode, 201, 'it is the document that was exported')
  const plain = (task: Task) => ({ ...task, id: 0, created_at: '', updated_at: '' })
  t.same((await all()).map(plain), before.map(plain), 'the same tasks in the same order')
  t.same(back.json(), await all(), 'which is answered')
  t.ok(
    (await all()).every(({ id }) => !before.some((task) => task.id === id)),
    'with new ids',
  )
  t.equal((await send('POST', '/todos/bulk', exported.tasks)).statusCode, 201, 'its list of tasks will do')
  t.equal((await send('POST', '/todos/bulk', await all())).statusCode, 201, 'and so will a list')
  const other = await client(t)
  t.equal(
    (await other.send('POST', '/todos/bulk', exported)).statusCode,
    201,
    "another user's becomes one's own",
  )
  t.notMatch(JSON.stringify(await other.all()), exported.user.id, 'and nothing of that user is left')
})

t.test('a large export is taken back in parts, by the commands in docs/operate.md', async (t) => {
  const [, section = ''] = readFileSync(join(ROOT, 'docs/operate.md'), 'utf8').split('## Export and erasure')
  const commands = section.match(/(?<=^\$ )(curl -s |node -e |for part ).*$/gm) ?? []
  const [fetchIt = '', cut = '', send = ''] = commands

  const app = await build(t)
  const { url } = await serve(app)
  const { token, headers } = await identity()
  const post = (at: string, payload: object, more = {}) =>
    app.inject({ method: 'POST', url: at, headers: { ...headers, ...more }, payload })
  const all = async () =>
    (await app.inject({ url: '/todos?limit=1000', headers }))
      .json<Task[]>()
      .map(({ title, description, tags }) => ({ title, description, tags }))
  // In JSON a control character takes six bytes.
  const large = Array.from({ length: 250 }, (_, i) => ({
    title: '\x01'.repeat(252) + (100 + i),
    description: '\x01'.repeat(1000),
    tags: Array.from({ length: 20 }, (_, tag) => '😀'.repeat(48) + (10 + tag)),
  }))
  await post('/todos/bulk', large)
  await post('/todos', { title: 'last' }, { 'idempotency-key': 'a' })
  const before = await all()
  t.equal(before.length, 251, 'many large tasks')

  const cwd = t.testdir({})
  const files = () => readdirSync(cwd).toSorted().join(' ')
  const run = (command: string, TOKEN = token) => {
    const here = command.replaceAll('https://api.example.com', url)
    const env = { ...process.env, TOKEN, NODE_COMPILE_CACHE: undefined } // its folder would be among the files
    return promisify(execFile)('sh', ['-c', here], { cwd, env })
  }
  await run(fetchIt)
  await app.inject({ method: 'DELETE', url: '/todos?completed=false', headers })
  await run(cut)
  t.equal(files(), 'export.json part-000000000.json part-000000250.json', 'it is cut')
  await run(send, 'x')
  t.match(files(), /000\.json .*250\.json$/, 'what is refused stays')
  await run(send)
  t.notMatch(files(), /part/, 'each part was taken')
  t.same(await all(), before, 'the same tasks in the same order')
})

t.test('ids that are no numbers leave the order as it was', async (t) => {
  const { make } = await client(t)
  for (const id of ['x', null, {}, { valueOf: 1, toString: 1 }, [[]]]) {
    const made = await make({ title: 'a', id }, { title: 'b', id }, { title: 'c' })
    t.same(
      made.map(({ title }) => title),
      ['a', 'b', 'c'],
      JSON.stringify(id),
    )
  }
})

t.test('those chosen are changed or deleted, and no others', async (t) => {
  const { send, make, all } = await client(t)
  const [a, b, c, d] = (await make(
    { title: 'a', completed: true, tags: ['home'] },
    { title: 'b', priority: 'low' },
    { title: 'c', completed: true, priority: 'low', due_at: '2020-01-01' },
    { title: 'd', due_at: '2020-01-01' },
  )) as [Task, Task, Task, Task]
  const did = async (...request: Parameters<typeof send>) => {
    const response = await send(...request)
    t.equal(response.statusCode, 200, `${request[0]} ${request[1]}`)
    return response.json<Affected>()
  }
  t.same(
    await did('PATCH', `/todos?ids=${a.id},${d.id},999999999`, { completed: true }),
    { count: 2, missing: [999999999] },
    'by ids, and which are missing',
  )
  const changed = await all()
  t.match(
    changed,
    [{ ...a, updated_at: String }, b, c, { ...d, completed: true, updated_at: String }],
    'these alone',
  )
  t.equal((await send('GET', `/todos/${a.id}`)).headers.etag, '"2"', 'each with its next version')
  t.same(
    await did('PATCH', '/todos?overdue=false&priority=low&status=pending', {
      priority: null,
      due_date: '2026-12-01',
      tags: [' x '],
    }),
    { count: 1, missing: [] },
    'by filters, which a body does not change',
  )
  t.match(
    (await all())[1],
    { title: 'b', priority: null, due_at: '2026-12-01T00:00:00.000Z', tags: ['x'] },
    'several fields',
  )
  t.same(
    await did('DELETE', `/todos?ids=${b.id},${c.id},${c.id}&completed=true`),
    { count: 1, missing: [b.id] },
    'ids and a filter',
  )
  t.same(await did('DELETE', '/todos?completed=true'), { count: 2, missing: [] }, 'clear completed')
  t.same(
    (await all()).map(({ title }) => title),
    ['b'],
    'one is left',
  )
  t.same(await did('DELETE', '/todos?search=nothing'), { count: 0, missing: [] }, 'none, and no failure')

  for (const [method, query, body, told] of [
    ['DELETE', '', undefined, 'query must have ids or another filter'],
    ['DELETE', '?', undefined, 'query must have ids or another filter'],
    ['DELETE', '?status=all', undefined, 'query must have ids or another filter'],
    ['DELETE', '?priority=all', undefined, 'query must have ids or another filter'],
    ['DELETE', '?_t=1', undefined, 'query must have ids or another filter'],
    ['DELETE', '?search=', undefined, 'search must not be empty'],
    ['DELETE', '?search=%20&completed=false', undefined, 'search must not be empty'],
    ['DELETE', '?tag=%20&completed=false', undefined, 'tag must not be empty'],
    ['DELETE', '?due_before=&completed=false', undefined, 'due_before must not be empty'],
    ['DELETE', '?ids=&completed=false', undefined, 'ids must be up to 1,000 ids with commas between them'],
    ['DELETE', '?limit=1&completed=false', undefined, 'limit is unknown'],
    ['DELETE', '?complete=false', undefined, 'complete is unknown'],
    ['DELETE', '?completed=false', { ids: [1] }, 'body must be empty: ids and filters are in the query'],
    ['DELETE', '?completed=false', [1], 'body must be empty: ids and filters are in the query'],
    ['PATCH', '', { completed: true }, 'query must have ids or another filter'],
    ['PATCH', '?completed=false', {}, 'body must have a field to change'],
    [
      'PATCH',
      '?completed=false',
      { title: '' },
      'title must have at least 1 character (and 1 more in errors)',
    ],
    ['PATCH', '?completed=false', { id: 1 }, 'id is unknown'],
  ] as const) {
    const refused = await send(method, `/todos${query}`, body)
    t.same([refused.statusCode, refused.json().detail], [422, told], `${method} ${query}: ${told}`)
  }
  for (const header of ['If-Match', 'Idempotency-Key']) {
    for (const [method, path, body] of [
      ['POST', '/todos/bulk', [{ title: 'x' }]],
      ['PATCH', '/todos?completed=false', { completed: true }],
      ['DELETE', '/todos?completed=false', undefined],
    ] as const) {
      const refused = await send(method, path, body, { [header]: '"1"' })
      const told = `${header.toLowerCase()} is for one task, not for several`
      t.same([refused.statusCode, refused.json().detail], [422, told], `${method} with ${header}`)
    }
  }
  t.same(
    (await all()).map(({ completed }) => completed),
    [false],
    'nothing was made, changed or deleted',
  )
})

t.test('a thousand ids', async (t) => {
  const { send, make, all } = await client(t)
  const tasks = await make(...Array.from({ length: 1000 }, () => ({ title: 'x' })))
  const ids = tasks.map(({ id }) => id)
  t.equal(
    (await send('PATCH', `/todos?ids=${ids}`, { completed: true })).json<Affected>().count,
    1000,
    'are changed',
  )
  expectProblem(t, await send('DELETE', `/todos?ids=${ids},1`), 422, 'validation_failed', 'one more')
  t.equal((await send('DELETE', `/todos?ids=${ids}`)).json<Affected>().count, 1000, 'and deleted')
  t.same(await all(), [], 'all of them')
})

t.test("another user's ids are missing ones", async (t) => {
  const [ada, bob] = [await client(t), await client(t)]
  const hers = await ada.make({ title: 'hers' }, { title: 'hers, too' })
  const [his] = (await bob.make({ title: 'his' })) as [Task]
  const ids = [...hers.map(({ id }) => id), his.id, 999_999_999]
  const missing = [...hers.map(({ id }) => id), 999_999_999]
  t.same(
    (await bob.send('PATCH', `/todos?ids=${ids}`, { title: 'mine' })).json(),
    { count: 1, missing },
    'PATCH',
  )
  t.same(
    (await bob.send('GET', `/todos?ids=${ids}`)).json<Task[]>().map(({ title }) => title),
    ['mine'],
    'GET',
  )
  t.same((await bob.send('DELETE', `/todos?ids=${ids}`)).json(), { count: 1, missing }, 'DELETE')
  t.same(
    (await bob.send('DELETE', '/todos?completed=false')).json(),
    { count: 0, missing: [] },
    'by a filter, none',
  )
  t.same(await ada.all(), hers, 'hers are as they were')
})

t.test('each is one statement of one batch', async (t) => {
  const db = await database()
  let batches: number[] = []
  const run: Database['run'] = (statements, ...rest) => {
    batches.push(statements.length)
    return db.run(statements, ...rest)
  }
  const { send } = await client(t, undefined, { ...db, run })
  for (const [method, url, payload] of [
    ['POST', '/todos/bulk', [{ title: 'a' }, { title: 'b' }]],
    ['PATCH', '/todos?ids=1,2,3', { completed: true }],
    ['DELETE', '/todos?completed=true', undefined],
  ] as const) {
    batches = []
    t.ok((await send(method, url, payload)).statusCode < 300, `${method} ${url}`)
    t.same(batches, [1], 'one')
  }
})
