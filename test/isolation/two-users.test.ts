import type { InjectOptions } from 'fastify'
import t from 'tap'
import type { Task } from '../../schemas/task.ts'
import type { Database } from '../../src/database/index.ts'
import { build, identity } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { expectProblem } from '../helper/http.ts'

const NEVER = 9_007_199_254_740_991

const ROUTES: [InjectOptions['method'], path: string, payload?: object][] = [
  ['GET', ''],
  ['PUT', '', { title: 'mine now' }],
  ['PATCH', '', { completed: true }],
  ['DELETE', ''],
  ['PATCH', '/toggle'],
  ['PATCH', '/toggle', { completed: true }],
  ['PATCH', '/complete'],
]

t.test('a second user', async (t) => {
  const app = await build(t)
  const [ada, bob] = await Promise.all([identity(), identity()])
  const created = await app.inject({
    method: 'POST',
    url: '/todos',
    headers: ada.headers,
    payload: { title: "Ada's" },
  })
  const task = created.json<Task>()
  const asAda = async () => (await app.inject({ url: `/todos/${task.id}`, headers: ada.headers })).json()
  // The request id is part of the body: it is fixed, so that the bytes can be compared.
  const asBob = (options: InjectOptions) =>
    app.inject({ ...options, headers: { ...bob.headers, 'x-request-id': 'same' } })

  for (const prefix of [`/api/${bob.id}/tasks`, '/todos', `/api/user/${bob.id}/tasks`, '/api/tasks']) {
    t.same((await asBob({ url: prefix })).json(), [], `${prefix}: nothing listed`)
    t.equal((await asBob({ url: `${prefix}/stats` })).json().total, 0, `${prefix}: nothing counted`)
    for (const [method, path, payload] of ROUTES) {
      const foreign = await asBob({ method, url: `${prefix}/${task.id}${path}`, payload })
      const missing = await asBob({ method, url: `${prefix}/${NEVER}${path}`, payload })
      t.equal(foreign.statusCode, 404, `${method} ${prefix}/:id${path}`)
      t.equal(foreign.body, missing.body, 'the same bytes as for a task that never existed')
      t.equal(foreign.json().detail, 'Task not found', 'the sentence names no owner')
    }
  }

  for (const prefix of [`/api/${ada.id}/tasks`, `/api/user/${ada.id}/tasks`]) {
    const attempts: [InjectOptions['method'], string, object?][] = [
      ['GET', prefix],
      ['POST', prefix, { title: 'for Ada' }],
      ['GET', `${prefix}/stats`],
      ...ROUTES.map(
        ([method, path, payload]) =>
          [method, `${prefix}/${task.id}${path}`, payload] as [InjectOptions['method'], string, object?],
      ),
    ]
    for (const [method, url, payload] of attempts) {
      const response = await asBob({ method, url, payload })
      t.equal(response.statusCode, 403, `${method} ${url}`)
      t.equal(response.json().code, 'forbidden', `${method} ${url}: the code is forbidden`)
      t.equal(response.headers['www-authenticate'], undefined, '403 carries no challenge')
    }
  }

  t.same(await asAda(), task, "Ada's task is unchanged")
})

t.test("another user's path is refused before any statement", async (t) => {
  const real = await database()
  let statements = 0
  const counting: Database = {
    ...real,
    run: (...args) => {
      statements++
      return real.run(...args)
    },
  }
  const app = await build(t, { database: counting })
  const [ada, bob] = [await identity(), await identity()]
  const requests = ['', '/stats', '/1', '/0']
    .map((path) => ['GET', path])
    .concat([
      ['POST', ''],
      ['PUT', '/1'],
      ['PATCH', '/1'],
      ['DELETE', '/1'],
      ['PATCH', '/1/toggle'],
      ['PATCH', '/1/complete'],
    ])
  for (const prefix of ['/api', '/api/user']) {
    for (const [method, path] of requests) {
      for (const payload of method === 'GET' ? [undefined] : [{ title: 'x' }, {}, '{']) {
        const request = {
          method: method as 'GET',
          headers: { ...ada.headers, ...(payload && { 'content-type': 'application/json' }) },
          payload,
        }
        const url = `${prefix}/${bob.id}/tasks${path}`
        expectProblem(t, await app.inject({ ...request, url }), 403, 'forbidden')
        expectProblem(t, await app.inject({ ...request, url, headers: {} }), 401, 'missing_token')
      }
    }
    for (const id of [ada.id.toUpperCase(), `${ada.id}%20`, `${ada.id}%00`, '*', `${ada.id},${bob.id}`]) {
      expectProblem(t, await app.inject({ url: `${prefix}/${id}/tasks`, headers: ada.headers }), 403)
    }
  }
  t.equal(statements, 0, 'no statement was run')
  await app.inject({ url: `/api/${ada.id}/tasks`, headers: ada.headers })
  t.equal(statements, 1, 'and the counter works')
})

t.test('user ids that need encoding, or look like something else', async (t) => {
  const app = await build(t)
  for (const id of ['auth0|ä/b?c#d%', 'tasks', 'user', 'me', '..', 'a'.repeat(255), '😀'.repeat(100)]) {
    const user = await identity(id)
    const url = `/api/user/${encodeURIComponent(id)}/tasks`
    const created = await app.inject({
      method: 'POST',
      url,
      headers: user.headers,
      payload: { title: 'mine' },
    })
    t.equal(created.statusCode, 201, id)
    t.equal(created.json<Task>().user_id, id, 'the row belongs to the id')
    const task = await app.inject({ url: String(created.headers.location), headers: user.headers })
    t.equal(task.json<Task>().title, 'mine', 'the Location leads to the task')
    t.same((await app.inject({ url: '/todos', headers: user.headers })).json().length, 1, 'the list has it')
  }
})
