import type { InjectOptions } from 'fastify'
import t from 'tap'
import type { Task } from '../../schemas/task.ts'
import { type App, build, identity, type Identity } from '../helper/app.ts'
import { expectProblem, refusal } from '../helper/http.ts'

const FIELDS =
  'id user_id title description completed priority due_at tags due_date created_at updated_at'.split(' ')

/** Sends requests as one user. */
async function client(app: App, user?: Identity) {
  const { headers } = user ?? (await identity())
  const send = (method: InjectOptions['method'], url: string, payload?: object, more = {}) =>
    app.inject({ method, url, payload, headers: { ...headers, ...more } })
  return {
    send,
    create: async (title = 'x') => {
      const response = await send('POST', '/todos', { title })
      return { url: `/todos/${response.json<Task>().id}`, etag: String(response.headers.etag) }
    },
  }
}

/** Every way to change a task, with a body that changes it. */
const CHANGES: [InjectOptions['method'], path: string, payload?: object][] = [
  ['PUT', '', { title: 'put' }],
  ['PATCH', '', { description: 'patched' }],
  ['PATCH', '', { priority: 'high', due_date: '2026-12-01', tags: ['home'] }],
  ['PATCH', '/status', { status: 'completed' }],
  ['PATCH', '/toggle'],
  ['POST', '/toggle'],
  ['PATCH', '/complete', { completed: true }],
  ['DELETE', ''],
]

t.test('each answer with one task has its ETag, and the task is as before', async (t) => {
  const app = await build(t)
  const { send, create } = await client(app)
  const { url, etag } = await create()
  t.match(etag, /^"[!#-~]+"$/, 'POST: a strong one')
  const seen = new Set([etag])
  for (const [method, path, payload] of CHANGES.slice(0, -1)) {
    const response = await send(method, url + path, payload)
    t.same(Object.keys(response.json()), FIELDS, `${method} ${path}: the same fields as ever`)
    t.notOk(seen.has(String(response.headers.etag)), `${method} ${path}: a new one`)
    seen.add(String(response.headers.etag))
    const read = await send('GET', url)
    t.equal(read.headers.etag, response.headers.etag, 'GET: that of the last change')
    t.same(read.json(), response.json(), 'GET: the task of the last change')
  }
  t.notOk(seen.has('undefined'), 'all have one')
  const last = await send('GET', url)
  t.equal((await send('PATCH', url, {})).headers.etag, last.headers.etag, 'no change, no other ETag')

  for (const path of ['/todos', '/todos/stats'])
    t.equal((await send('GET', path)).headers.etag, undefined, `none with ${path}`)
  t.same(
    Object.keys((await send('GET', '/todos')).json()[0]),
    FIELDS,
    'a task of the list has the same fields',
  )
  t.equal((await send('DELETE', url)).headers.etag, undefined, 'none with DELETE')
})

t.test('no two versions have the same ETag, however fast they follow', async (t) => {
  const { send, create } = await client(await build(t))
  const { url } = await create()
  const answers = await Promise.all(Array.from({ length: 100 }, () => send('PATCH', `${url}/toggle`)))
  t.equal(new Set(answers.map(({ headers }) => headers.etag)).size, 100, '100 changes at once, 100 ETags')
})

t.test('If-None-Match', async (t) => {
  const { send, create } = await client(await build(t))
  const { url, etag } = await create()
  const asked = (value: string, method: 'GET' | 'HEAD' = 'GET') =>
    send(method, url, undefined, { 'if-none-match': value })

  for (const method of ['GET', 'HEAD'] as const) {
    const whole = await send(method, url)
    for (const value of [etag, `W/${etag}`, '*', `"other", ${etag}`, `W/"a,b",W/${etag},"c"`]) {
      const response = await asked(value, method)
      t.equal(response.statusCode, 304, `${method} ${value} is 304`)
      t.equal(response.body, '', 'without a body')
      t.equal(response.headers.etag, etag, 'with the ETag')
      const length = response.headers['content-length']
      t.equal(
        length,
        method === 'GET' ? undefined : whole.headers['content-length'],
        'and no length of nothing',
      )
      t.ok(response.headers.vary, 'it varies as the whole answer does')
    }
  }
  for (const value of ['"other"', etag.slice(1, -1), '', '"', `"${etag}`, etag.toUpperCase() + 'x'])
    t.ok([200, 304].includes((await asked(value)).statusCode), `${JSON.stringify(value)} is no failure`)
  for (const value of ['"other"', 'W/"other"', etag.slice(1, -1), ''])
    t.equal((await asked(value)).statusCode, 200, `${JSON.stringify(value)} is 200`)

  await send('PATCH', url, { title: 'new' })
  const changed = await asked(etag)
  t.equal(changed.statusCode, 200, 'after a change it is 200')
  t.equal(changed.json<Task>().title, 'new', 'with the task as it is')
  t.equal((await send('GET', '/todos', undefined, { 'if-none-match': '*' })).statusCode, 200, 'not for lists')
  const gone = await send('GET', '/todos/9007199254740991', undefined, { 'if-none-match': '*' })
  t.equal(gone.statusCode, 404, 'nor for what is not there')
})

t.test('If-Match', async (t) => {
  const app = await build(t)
  const { send, create } = await client(app)
  const stranger = await client(app)

  for (const [method, path, payload] of CHANGES) {
    await t.test(`${method} ${path}`, async (t) => {
      const { url, etag } = await create()
      const changed = await send('PATCH', url, { title: 'changed' })
      const attempt = (value: string, { send: by } = { send }, at = url) =>
        by(method, at + path, payload, { 'if-match': value })
      const before = (await send('GET', url)).body

      for (const value of [
        etag,
        '"other"',
        '""',
        `W/${changed.headers.etag}`,
        `${etag}, "99999999999999999999", "-1", "é"`,
        '"1e9", "0x2", "02", " 2", "2 "',
      ]) {
        expectProblem(t, await attempt(value), 412, 'precondition_failed')
      }
      for (const value of ['2', '"2', '2"', '"1" "2"', '*, "2"', 'W/*', 'w/"2"', '', ',', "'2'", '"1";"2"']) {
        const refused = await attempt(value)
        expectProblem(t, refused, 422, 'validation_failed', value)
        t.same(refused.json().errors[0].loc, ['header', 'if-match'], 'with its place')
      }
      for (const value of ['*', '"1"', '"2"']) {
        const foreign = await attempt(value, stranger)
        t.same(refusal(foreign), [404, 'task_not_found'], `${value}: another user's task is none`)
        const none = await attempt(value, undefined, '/todos/9007199254740991')
        t.same(refusal(none), [404, 'task_not_found'], `${value}: no task is none`)
      }
      t.equal((await send('GET', url)).body, before, 'nothing of this has changed it')

      const right = await attempt(`"other", W/"x", ${changed.headers.etag} ,`)
      t.equal(right.statusCode, 200, 'with the right one among others it is done')
      if (method === 'DELETE') return t.equal((await send('GET', url)).statusCode, 404, 'it is gone')
      t.equal((await attempt('*')).statusCode, 200, 'and with *')
      return t.equal((await attempt(String(changed.headers.etag))).statusCode, 412, 'the old one is spent')
    })
  }

  const { url, etag } = await create()
  t.equal(
    (await send('PATCH', url, {}, { 'if-match': '"0"' })).statusCode,
    412,
    'it holds for no change, too',
  )
  t.equal((await send('PATCH', url, {}, { 'if-match': etag })).statusCode, 200, 'or does not')
  t.equal((await send('GET', url, undefined, { 'if-match': '"0"' })).statusCode, 412, 'it holds for GET')
  t.equal((await send('GET', url, undefined, { 'if-match': etag })).statusCode, 200, 'or does not')
})
