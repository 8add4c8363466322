import t from 'tap'
import type { LightMyRequestResponse as Response } from 'fastify'
import type { Task } from '../../schemas/task.ts'
import { type App, build, identity, type Identity } from '../helper/app.ts'

const PREFIXES = [
  (id: string) => `/api/${id}/tasks`,
  () => '/todos',
  (id: string) => `/api/user/${id}/tasks`,
  () => '/api/tasks',
]

async function create(app: App, { headers }: Identity, payload: object): Promise<Task> {
  const response = await app.inject({ method: 'POST', url: '/todos', headers, payload })
  return response.json()
}

for (const prefix of PREFIXES) {
  t.test(`the life of one task under ${prefix(':user_id')}`, async (t) => {
    const app = await build(t)
    const user = await identity()
    const { headers } = user
    const url = prefix(user.id)

    const created = await app.inject({ method: 'POST', url, headers, payload: { title: 'Buy milk' } })
    t.equal(created.statusCode, 201, 'POST is 201')
    const task = created.json<Task>()
    t.match(
      task,
      { user_id: user.id, title: 'Buy milk', description: null, completed: false },
      'the task has what was sent and the defaults',
    )
    t.match(task.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'created_at is ISO 8601 in UTC')
    t.equal(created.headers.location, `${url}/${task.id}`, 'Location is its path')

    const at = `${url}/${task.id}`
    t.same((await app.inject({ url: at, headers })).json(), task, 'GET gives the same')
    t.same((await app.inject({ url, headers })).json(), [task], 'the list has it')
    t.same((await app.inject({ url: `${url}/`, headers })).json(), [task], 'a trailing slash is ignored')

    const put = await app.inject({ method: 'PUT', url: at, headers, payload: { description: 'Two litres' } })
    t.match(
      put.json(),
      { title: 'Buy milk', description: 'Two litres', completed: false },
      'PUT changes what was sent',
    )
    const patch = await app.inject({ method: 'PATCH', url: at, headers, payload: { title: 'Buy oat milk' } })
    t.match(patch.json(), { title: 'Buy oat milk', description: 'Two litres' }, 'PATCH changes what was sent')
    t.ok(patch.json<Task>().updated_at >= task.updated_at, 'updated_at does not go backwards')
    const cleared = await app.inject({ method: 'PATCH', url: at, headers, payload: { description: null } })
    t.equal(cleared.json<Task>().description, null, 'null clears the description')
    const same = await app.inject({ method: 'PATCH', url: at, headers, payload: {} })
    t.same(same.json(), cleared.json(), 'no field, no change')

    for (const action of ['toggle', 'complete']) {
      const flip = () => app.inject({ method: 'PATCH', url: `${at}/${action}`, headers })
      t.equal((await flip()).json<Task>().completed, true, `${action} completes`)
      t.equal((await flip()).json<Task>().completed, false, `${action} undoes it`)
      const set = () =>
        app.inject({ method: 'PATCH', url: `${at}/${action}`, headers, payload: { completed: true } })
      t.equal((await set()).json<Task>().completed, true, `${action} sets what was sent`)
      t.equal((await set()).json<Task>().completed, true, 'a retry is harmless')
      await flip()
    }

    t.same(
      (await app.inject({ url: `${url}/stats`, headers })).json(),
      {
        total: 1,
        completed: 0,
        pending: 1,
        completion_rate: 0,
      },
      'stats count it',
    )

    const deleted = await app.inject({ method: 'DELETE', url: at, headers })
    t.equal(deleted.statusCode, 200, 'DELETE is 200')
    t.same(deleted.json(), { message: 'Task deleted successfully' }, 'DELETE says so')
    t.equal((await app.inject({ url: at, headers })).statusCode, 404, 'it is gone')
    t.equal(
      (await app.inject({ method: 'DELETE', url: at, headers })).statusCode,
      404,
      'a second DELETE is 404',
    )
  })
}

t.test('a list is walked by its links, newest first', async (t) => {
  const app = await build(t)
  const user = await identity()
  const ids: number[] = []
  for (let i = 0; i < 7; i++)
    ids.push((await create(app, user, { title: `task ${i}`, completed: i % 2 === 0 })).id)

  const walk = async (start: string): Promise<number[][]> => {
    const pages: number[][] = []
    let url: string | undefined = start
    while (url) {
      const response: Response = await app.inject({ url, headers: user.headers })
      t.equal(response.statusCode, 200, 'each page is 200')
      pages.push(response.json<Task[]>().map(({ id }) => id))
      url = /^<(.+)>; rel="next"$/.exec(String(response.headers.link ?? ''))?.[1]
    }
    return pages
  }

  const [a, b, c, d, e, f, g] = ids.toReversed()
  t.same(await walk('/todos?limit=3'), [[a, b, c], [d, e, f], [g]], 'pages of three')
  t.same(await walk('/todos?limit=7'), [[a, b, c, d, e, f, g]], 'no link to an empty page')
  t.same(
    await walk('/todos?limit=2&completed=true'),
    [
      [a, c],
      [e, g],
    ],
    'pages of two, the completed ones',
  )
  t.same(
    await walk(`/api/${user.id}/tasks/?limit=3&completed=false`),
    [[b, d, f]],
    'pages of three, the others',
  )
  t.same(await walk('/todos?skip=6'), [[g]], 'skip leaves out the newest')
  t.same(await walk('/todos?skip=7'), [[]], 'skip beyond the end')
})

t.test('X-Total-Count is sent if requested', async (t) => {
  const app = await build(t)
  const user = await identity()
  for (const completed of [true, false, false]) await create(app, user, { title: 'x', completed })
  const count = async (url: string, headers = {}) =>
    (await app.inject({ url, headers: { ...user.headers, ...headers } })).headers['x-total-count']

  t.equal(await count('/todos'), undefined, 'not if it is not requested')
  t.equal(await count('/todos?count=false'), undefined, 'not with count=false')
  t.equal(await count('/todos?count=true&limit=1'), '3', 'with count=true')
  t.equal(await count('/todos?count=true&completed=true'), '1', 'of the completed ones')
  t.equal(
    await count('/todos?completed=false', { prefer: 'respond-async, count=exact' }),
    '2',
    'with Prefer: count=exact',
  )
  t.equal(await count('/todos', { prefer: 'count=planned' }), undefined, 'not with another preference')
})

t.test('stats', async (t) => {
  const app = await build(t)
  const user = await identity()
  const stats = async () => (await app.inject({ url: '/todos/stats', headers: user.headers })).json()
  t.same(await stats(), { total: 0, completed: 0, pending: 0, completion_rate: 0 }, 'zeros for no tasks')
  for (const completed of [true, false, false]) await create(app, user, { title: 'x', completed })
  t.same(
    await stats(),
    { total: 3, completed: 1, pending: 2, completion_rate: 33.33 },
    'a rate with two decimals',
  )
})

t.test('values at their bounds', async (t) => {
  const app = await build(t)
  const user = await identity()
  const post = (payload: object | string) =>
    app.inject({ method: 'POST', url: '/todos', headers: user.headers, payload })

  t.test('accepted and returned unchanged', async (t) => {
    for (const title of [
      'x',
      '😀'.repeat(255),
      ' a ',
      "'; drop table tasks; --",
      '\u202e\t\n<b>',
      '__proto__',
      'null',
    ]) {
      const response = await post({ title, description: title })
      t.equal(response.statusCode, 201, JSON.stringify(title))
      t.match(response.json(), { title, description: title }, 'it is returned as it was sent')
    }
    t.match(
      (await post({ title: 'x', description: 'é'.repeat(1000), completed: true })).json(),
      {
        completed: true,
      },
      'a long description',
    )
    t.equal(
      (await post({ title: 'x', description: '' })).json<Task>().description,
      '',
      'an empty description',
    )
  })

  t.test('refused with 422', async (t) => {
    const bodies: unknown[] = [
      {},
      { title: '' },
      { title: ' \t\n' },
      { title: 'x'.repeat(256) },
      { title: null },
      { title: 1 },
      { title: true },
      { title: ['x'] },
      { title: 'nul \u0000' },
      { title: 'half \ud800' },
      { title: 'x', description: 'y'.repeat(1001) },
      { title: 'x', description: 'nul \u0000' },
      { title: 'x', description: 'half \udfff' },
      { title: 'x', description: 0 },
      { title: 'x', completed: 'true' },
      { title: 'x', completed: 1 },
      { title: 'x', completed: null },
      { title: 'x', id: 1 },
      { title: 'x', user_id: user.id },
      { title: 'x', created_at: '2020-01-01T00:00:00Z' },
      { title: 'x', updated_at: '2020-01-01T00:00:00Z' },
      { title: 'x', priority: 'high' },
      [],
      null,
      'title',
      1,
    ]
    const before = (await app.inject({ url: '/todos/stats', headers: user.headers })).body
    for (const body of bodies) {
      const response = await app.inject({
        method: 'POST',
        url: '/todos',
        headers: { ...user.headers, 'content-type': 'application/json' },
        payload: JSON.stringify(body),
      })
      t.equal(response.statusCode, 422, JSON.stringify(body))
      t.equal(response.json().code, 'validation_failed', 'the code is validation_failed')
      t.ok(response.json().errors.length > 0, 'the faults are listed')
    }
    t.equal(
      (await app.inject({ url: '/todos/stats', headers: user.headers })).body,
      before,
      'nothing was written',
    )
  })

  t.test('every fault is reported with its place', async (t) => {
    const response = await post({ title: '', completed: 'no', colour: 'red' })
    t.same(
      response
        .json()
        .errors.toSorted((a: { type: string }, b: { type: string }) => a.type.localeCompare(b.type)),
      [
        { loc: ['body', 'colour'], msg: 'is unknown', type: 'additionalProperties' },
        { loc: ['body', 'title'], msg: 'must have at least 1 character(s)', type: 'minLength' },
        {
          loc: ['body', 'title'],
          msg: 'must not be blank, or hold NUL or half of a surrogate pair',
          type: 'pattern',
        },
        { loc: ['body', 'completed'], msg: 'must be boolean', type: 'type' },
      ],
      'each fault with its place',
    )
  })
})

t.test('ids and queries are read strictly', async (t) => {
  const app = await build(t)
  const { headers } = await identity()
  const status = async (url: string) => (await app.inject({ url, headers })).statusCode

  for (const id of [
    '0',
    '-1',
    '1.5',
    '1e3',
    '0x10',
    '01',
    '%201',
    '1%20',
    'abc',
    'NaN',
    '9007199254740992',
    '%F0%9F%98%80',
    "1'--",
    '1,2',
  ]) {
    t.equal(await status(`/todos/${id}`), 422, id)
  }
  for (const id of ['1', '2147483648', '9007199254740991']) t.equal(await status(`/todos/${id}`), 404, id)
  for (const query of [
    'skip=-1',
    'skip=x',
    'limit=0',
    'limit=1001',
    'limit=',
    'limit=1&limit=2',
    'completed=1',
    'completed=',
    'sort=title',
    'cursor=',
    'cursor=!',
    'cursor=-1',
    'cursor=00',
    'cursor=zzzzzzzzzzzzz',
    'skip=9007199254740992',
  ]) {
    t.equal(await status(`/todos?${query}`), 422, query)
  }
  for (const query of ['skip=0&limit=1000', 'skip=9007199254740991', 'completed=false', '']) {
    t.equal(await status(`/todos?${query}`), 200, query)
  }
})
