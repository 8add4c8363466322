import t from 'tap'
import type { LightMyRequestResponse as Response } from 'fastify'
import type { Task } from '../../schemas/task.ts'
import { type App, build, identity, type Identity } from '../helper/app.ts'

const PREFIXES = [
  (id: string) => `/api/${id}/tasks`,
  () => '/todos',
  (id: string) => `/api/user/${id}/tasks`,
  () => '/api/tasks',
  () => '/api/todos',
  () => '/tasks',
  () => '/api/v1/tasks',
  (id: string) => `/v1/${id}/tasks`,
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
        overdue: 0,
        by_priority: { low: 0, medium: 0, high: 0, none: 1 },
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
  t.same(await walk('/todos?offset=6'), [[g]], 'offset is skip')
  t.same(await walk('/todos?page=3&limit=3'), [[g]], 'the third page of three')
  t.same(await walk('/todos?page=2&limit=3&offset=2'), [[f, g]], 'offset comes on top of the page')
  t.same(await walk('/todos?page=2&limit=2'), [[c, d], [e, f], [g]], 'links lead on from a page')
  t.same(await walk('/todos?page=9&limit=3'), [[]], 'a page beyond the end')
  for (const name of ['status', 'status_filter']) {
    t.same(await walk(`/todos?${name}=all&limit=7`), [[a, b, c, d, e, f, g]], `${name}=all`)
    t.same(await walk(`/todos?${name}=pending&limit=2`), [[b, d], [f]], `${name}=pending`)
    t.same(await walk(`/todos?${name}=completed`), [[a, c, e, g]], `${name}=completed`)
  }
  t.same(await walk('/todos?status=pending&status_filter=completed'), [[b, d, f]], 'status goes before')
  t.same(await walk('/todos?completed=true&status=pending'), [[a, c, e, g]], 'completed goes before both')
  const absolute = await app.inject({ url: '/todos?limit=6', headers: user.headers })
  t.match(absolute.headers.link, /^<\/todos\?/, 'a link is a path')
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
  t.equal(await count('/todos?count=true&status=pending'), '2', 'of the pending ones')
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
  const none = { low: 0, medium: 0, high: 0, none: 0 }
  t.same(
    await stats(),
    { total: 0, completed: 0, pending: 0, completion_rate: 0, overdue: 0, by_priority: none },
    'zeros for no tasks',
  )
  for (const completed of [true, false, false]) await create(app, user, { title: 'x', completed })
  t.same(
    await stats(),
    {
      total: 3,
      completed: 1,
      pending: 2,
      completion_rate: 33.33,
      overdue: 0,
      by_priority: { ...none, none: 3 },
    },
    'a rate with two decimals',
  )
  const due_at = '2020-01-01'
  for (const task of [
    { priority: 'low', due_at },
    { priority: 'high', due_at, completed: true },
    { priority: 'high', due_at: '9999-12-31' },
    { due_at },
  ])
    await create(app, user, { title: 'x', ...task })
  t.match(
    await stats(),
    { total: 7, overdue: 2, by_priority: { low: 1, medium: 0, high: 2, none: 4 } },
    'overdue is what is not done',
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
      { title: 'x', priority: 'urgent' },
      { title: 'x', priority: 1 },
      { title: 'x', due_at: 'tomorrow' },
      { title: 'x', due_at: '2026-12-01T10:00' },
      { title: 'x', due_at: '2026-02-30' },
      { title: 'x', due_at: '0000-01-01' },
      { title: 'x', due_at: '0001-01-01T00:00:00+01:00' },
      { title: 'x', due_at: '9999-12-31T23:59:59-01:00' },
      { title: 'x', due_at: 1_764_547_200 },
      { title: 'x', due_date: '01/12/2026' },
      { title: 'x', tags: 'work' },
      { title: 'x', tags: [1] },
      { title: 'x', tags: ['x'.repeat(51)] },
      { title: 'x', tags: ['nul \u0000'] },
      { title: 'x', tags: ['half \ud800'] },
      { title: 'x', tags: ['two\nlines'] },
      { title: 'x', tags: Array.from({ length: 21 }, (_, i) => `tag ${i}`) },
      { title: 'x', status: 'done' },
      { title: 'x', is_completed: 1 },
      { title: 'x', category: 'home' },
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
        { loc: ['body', 'title'], msg: 'must have at least 1 character', type: 'minLength' },
        {
          loc: ['body', 'title'],
          msg: 'must not be blank, or hold NUL or half of a surrogate pair',
          type: 'pattern',
        },
        { loc: ['body', 'completed'], msg: 'must be true or false', type: 'type' },
      ],
      'each fault with its place',
    )
  })

  t.test('the detail names the first', async (t) => {
    const detail = async (options: object) =>
      (await app.inject({ url: '/todos', headers: user.headers, ...options })).json().detail
    const ofBody = (payload: object) => detail({ method: 'POST', payload })
    for (const [payload, sentence] of [
      [{ title: 'x'.repeat(256) }, 'title must have at most 255 characters'],
      [{ title: 'x'.repeat(256), colour: 'red' }, 'colour is unknown (and 1 more in errors)'],
      [{ title: ' ' }, 'title must not be blank, or hold NUL or half of a surrogate pair'],
      [{ title: 'a\0' }, 'title must not be blank, or hold NUL or half of a surrogate pair'],
      [{ title: 'a\ud800' }, 'title must not be blank, or hold NUL or half of a surrogate pair'],
      [{ title: 'x', description: 'a\0' }, 'description must not hold NUL or half of a surrogate pair'],
      [{ title: 'x', completed: 'yes' }, 'completed must be true or false'],
      [{ title: 'x', priority: 'urgent' }, 'priority must be low, medium or high'],
      [
        { title: 'x', due_at: '2026-12-01T10:00' },
        'due_at must be a date such as 2026-01-31, or with a time and offset such as 2026-01-31T09:30:00Z',
      ],
      [
        { title: 'x', tags: ['x'.repeat(51)] },
        'tags.0 must have at most 50 characters, and no control characters',
      ],
      [{ title: 'x', category: 'home' }, 'category is unknown: use tags'],
      [{ title: 'x', status: 'done' }, 'status must be true, false, completed or pending'],
      [{}, 'title is required'],
      [[{ title: 'x' }], 'body must be an object: use …/bulk for a list'],
      [{ title: 'x', ['y'.repeat(5000)]: 1 }, `${'y'.repeat(100)} is unknown`],
    ] as const) {
      t.equal(await ofBody(payload), sentence, sentence)
    }
    for (const [url, sentence] of [
      ['/todos?limit=0', 'limit must be at least 1'],
      ['/todos?status=done', 'status must be all, pending or completed'],
      [
        '/todos?sort=colour',
        'sort must be created_at, created, updated_at, updated, due_at, due_date, priority or title',
      ],
      ['/todos?search=a+b+c+d+e+f+g+h+i+j+k', 'search must have at most 10 words'],
      ['/todos?cursor=!', 'cursor is not from a Link header of this order'],
      ['/todos?priority=urgent', 'priority must be all, low, medium or high'],
      ['/todos?ids=1,x', 'ids must be up to 1,000 ids with commas between them'],
      ['/todos?ids=9007199254740992', 'ids must be at most 9007199254740991 each'],
      ['/todos?colour=red', 'colour is unknown'],
      ['/todos/0', 'id must be at least 1'],
      ['/todos/01', 'id must be an integer'],
    ] as const) {
      t.equal(await detail({ url }), sentence, sentence)
    }
    const { errors } = (await app.inject({ url: '/todos?limit=0', headers: user.headers })).json()
    t.same(errors[0].loc, ['query', 'limit'], 'the place is the query')
  })
})

t.test('ids and queries are read strictly', async (t) => {
  const app = await build(t)
  const { headers } = await identity()
  const status = async (url: string) => (await app.inject({ url, headers })).statusCode

  for (const id of ['0', '01', '9007199254740992', '9'.repeat(100)])
    t.equal(await status(`/todos/${id}`), 422, id)
  for (const id of [
    '-1',
    '1.5',
    '1e3',
    '0x10',
    '%201',
    '1%20',
    'abc',
    'NaN',
    'reorder',
    '%D9%A1', // an Arabic one
    '%F0%9F%98%80',
    "1'--",
    '1,2',
  ]) {
    t.equal(await status(`/todos/${id}`), 404, `${id} is nothing`)
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
    'sort=colour',
    'sort=Title',
    'sort=',
    'sort_by=id',
    'order=down',
    `search=${'x'.repeat(201)}`,
    'search=%00',
    'search=a&search=b',
    'status=done',
    'status=',
    'page=0',
    'page=1000000001',
    'offset=-1',
    'priority=urgent',
    'tag=%00',
    'due_before=now',
    'due_after=2026-12-01T10:00',
    'overdue=1',
    'ids=',
    'ids=0',
    'ids=1,',
    `ids=${Array.from({ length: 1001 }, (_, i) => i + 1).join()}`,
    'Skip=1',
    'cursor=',
    'cursor=!',
    'cursor=-1',
    'cursor=00',
    'cursor=zzzzzzzzzzzzz',
    'skip=9007199254740992',
  ]) {
    t.equal(await status(`/todos?${query}`), 422, query)
  }
  for (const query of [
    'skip=0&limit=1000',
    'skip=9007199254740991',
    'offset=9007199254740991&skip=9007199254740991&page=1000000000&limit=1000',
    'completed=false',
    'status=all&sort=created_at&order=desc&search=',
    'sort=created&sort_by=created_at&page=1&limit=20',
    'sort=title&order=asc&priority=all&tag=&due_before=&due_after=&search=+&overdue=false',
    `ids=${Array.from({ length: 1000 }, (_, i) => i + 1).join()}`,
    '_t=1700000000&_rsc=1abc&_',
    '',
  ]) {
    t.equal(await status(`/todos?${query}`), 200, query)
  }
})

t.test('a query parameter that an operation does not know is refused by all of them', async (t) => {
  const app = await build(t)
  const { headers } = await identity()
  for (const url of ['/', '/health', '/ready', '/me', '/me/export', '/todos', '/todos/stats', '/todos/1']) {
    const refused = await app.inject({ url: `${url}?colour=red`, headers })
    t.equal(refused.statusCode, 422, `${url} refuses colour`)
    t.equal(refused.json().detail, 'colour is unknown', `${url} names it`)
    const plain = await app.inject({ url, headers })
    const busted = await app.inject({ url: `${url}?_t=1&_rsc=x`, headers })
    t.equal(busted.statusCode, plain.statusCode, `${url} ignores names that begin with _`)
  }
})

t.test('the path of another user, and paths that are none', async (t) => {
  const app = await build(t)
  const { headers } = await identity()
  const answer = async (url: string, method = 'GET') => {
    const { statusCode, body } = await app.inject({ method: method as 'GET', url, headers })
    const { code, detail } = JSON.parse(body)
    return [statusCode, code, detail]
  }
  const told = 'The path names another user than the token.'
  t.same(await answer('/api/another/tasks'), [403, 'forbidden', told], 'another user')
  for (const url of ['/api/v2/tasks', '/api/v2/tasks/1', '/api/v10/tasks/stats']) {
    t.match(await answer(url), [404, 'not_found'], `${url} is no user's`)
    t.match((await app.inject({ url })).statusCode, 401, `${url} without a token`)
  }
  for (const url of ['/todos/bulks', '/todos/statistic', '/api/tasks/reorder', '/todos/1/tags'])
    for (const method of ['GET', 'POST', 'DELETE'])
      t.match(await answer(url, method), [404, 'not_found'], `${method} ${url}`)
  for (const url of ['/todos/stats', '/todos/bulk'])
    t.match(await answer(url, 'DELETE'), [405], `${url} is no task`)
  for (const version of ['v1', 'v2']) {
    const user = await identity(version)
    const { statusCode } = await app.inject({ url: `/api/${version}/tasks`, headers: user.headers })
    t.equal(statusCode, 200, `a user called ${version}`)
  }
})
