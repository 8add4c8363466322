import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { build, identity } from '../helper/app.ts'
import { ROOT } from '../helper/child.ts'

const PAGE = readFileSync(join(ROOT, 'docs/migrate-from-fastapi.md'), 'utf8')

// The calls of 17 front ends that were written for older services, as forms, each with the number of those that send it.
//
// A call works if it succeeds and, where it says something of a task, the answer says the same by the same name, or what
// it sets shows in `completed`.
//
// It is known how many front ends send each form, but not which. So it can be counted which forms work, and between which
// bounds the number of front ends lies that work as they are.

interface Form {
  what: string
  /** Of the 17; as far as it was counted, at most. */
  sentBy: number
  /** Instead of the token. */
  headers?: Record<string, string>
  /** `METHOD path body`, and what the answer has. */
  calls: [call: string, answer?: object][]
}
interface Refused extends Omit<Form, 'calls'> {
  /** With the status and the sentence. */
  calls: [call: string, status: number, detail: string][]
}

const task = { title: 'Buy milk' }
const ada = '{"email":":email","password":"correct horse battery"}'
const due = '2026-12-01T00:00:00.000Z'

const lifeAt = (at: string): Form['calls'] => [
  [`GET ${at}`],
  [`GET ${at}/`],
  [`GET ${at}?skip=0&limit=10`],
  [`POST ${at} {"title":"Buy milk"}`, task],
  [`POST ${at}/ {"title":"Buy milk"}`, task],
  [`GET ${at}/:id`, task],
  [`PUT ${at}/:id {"title":"Buy bread"}`, { title: 'Buy bread' }],
  [`PATCH ${at}/:id {"completed":true}`, { completed: true }],
  [`PATCH ${at}/:id/complete`, { completed: true }],
  [`PATCH ${at}/:id/toggle {"completed":true}`, { completed: true }],
  [`DELETE ${at}/:id`],
]

const WORK: Form[] = [
  {
    what: 'create, list, read, change, toggle, delete',
    sentBy: 12,
    calls: ['/api/:uid/tasks', '/api/tasks', '/todos'].flatMap(lifeAt),
  },
  {
    what: 'the first list asks for a state',
    sentBy: 10,
    calls: [
      ['GET /api/:uid/tasks?status=all'],
      ['GET /api/:uid/tasks?status=pending'],
      ['GET /todos?status_filter=all'],
    ],
  },
  {
    what: 'sort, search and filters',
    sentBy: 10,
    calls: [
      ['GET /api/:uid/tasks?sort=created'],
      ['GET /api/:uid/tasks?sort=created_at&order=desc'],
      ['GET /api/:uid/tasks?sort_by=due_date&order=asc'],
      ['GET /api/:uid/tasks?sort_by=title'],
      ['GET /api/:uid/tasks?search=milk'],
      ['GET /api/:uid/tasks?search='],
      ['GET /api/:uid/tasks?priority=high'],
      ['GET /api/:uid/tasks?tags=work'],
    ],
  },
  { what: 'pages', sentBy: 4, calls: [['GET /todos?page=1&limit=20'], ['GET /todos?limit=100&offset=0']] },
  {
    what: 'cache busters, and booleans of Python',
    sentBy: 3,
    calls: [['GET /todos?completed=True'], ['GET /todos?_t=1700000000'], ['GET /todos?_rsc=1abc']],
  },
  {
    what: 'a priority',
    sentBy: 15,
    calls: [
      ['POST /todos {"title":"Buy milk","priority":"high"}', { ...task, priority: 'high' }],
      ['POST /todos {"title":"Buy milk","priority":null}', { ...task, priority: null }],
      ['PUT /todos/:id {"priority":"low"}', { priority: 'low' }],
    ],
  },
  {
    what: 'a due date',
    sentBy: 11,
    calls: [
      ['POST /todos {"title":"Buy milk","due_date":"2026-12-01"}', { ...task, due_date: due }],
      [`POST /todos {"title":"Buy milk","due_date":"${due}"}`, { ...task, due_date: due }],
      ['POST /todos {"title":"Buy milk","due_date":null}', { ...task, due_date: null }],
    ],
  },
  {
    what: 'tags',
    sentBy: 11,
    calls: [
      ['POST /todos {"title":"Buy milk","tags":["x"]}', { ...task, tags: ['x'] }],
      ['PATCH /todos/:id {"tags":[]}', { tags: [] }],
    ],
  },
  {
    what: 'other words for completed',
    sentBy: 5,
    calls: [
      ['POST /todos {"title":"Buy milk","status":"pending"}', { completed: false }],
      ['PUT /todos/:id {"is_completed":true}', { completed: true }],
      ['PUT /todos/:id {"completion_status":"completed"}', { completed: true }],
      ['PATCH /todos/:id {"status":"completed"}', { completed: true }],
      ['PATCH /api/:uid/tasks/:id/status {"status":"completed"}', { completed: true }],
    ],
  },
  {
    what: 'POST to toggle',
    sentBy: 3,
    calls: [
      ['POST /api/:uid/tasks/:id/toggle', { completed: true }],
      ['POST /api/:uid/tasks/:id/complete', { completed: true }],
    ],
  },
  {
    what: 'other prefixes',
    sentBy: 5,
    calls: ['/api/todos', '/tasks', '/v1/:uid/tasks', '/api/v1/tasks'].flatMap(lifeAt),
  },
  {
    what: 'several at once, and statistics',
    sentBy: 3,
    calls: [
      ['POST /api/:uid/tasks/bulk [{"title":"Buy milk"}]', [task]],
      ['GET /todos/statistics', { total: Number }],
      ['GET /api/:uid/stats', { total: Number }],
    ],
  },
  {
    what: 'other sign-ins',
    sentBy: 3,
    calls: [
      [`POST /api/auth/signup ${ada}`, { success: true, data: { token: String } }],
      [
        `POST /api/auth/register ${ada.replace(':email', 'other-:email')}`,
        { success: true, data: { token: String } },
      ],
      [`POST /api/auth/login ${ada}`, { success: true, data: { token: String } }],
      ['POST /api/auth/logout', { success: true }],
    ],
  },
]

const nothing = 'There is nothing at this path.'
const betterAuth = `${nothing} It is a path of Better Auth, which is at another address.`
const REFUSED: Refused[] = [
  {
    what: 'a category',
    sentBy: 5,
    calls: [['POST /todos {"title":"Buy milk","category":"home"}', 422, 'category is unknown: use tags']],
  },
  {
    what: 'no value',
    sentBy: 3,
    calls: [['GET /todos?completed=undefined', 422, 'completed must be true or false']],
  },
  {
    what: 'an order of their own',
    sentBy: 3,
    calls: [
      [
        'POST /todos/reorder []',
        404,
        `${nothing} Tasks have no order of their own: a list takes sort and order.`,
      ],
    ],
  },
  {
    what: 'an export elsewhere',
    sentBy: 3,
    calls: [['GET /todos/export?format=json', 404, `${nothing} The export is at /me/export.`]],
  },
  {
    what: 'a list of tags',
    sentBy: 3,
    calls: [['GET /api/:uid/tags', 404, `${nothing} /openapi.json lists the paths.`]],
  },
  {
    what: 'a path that begins with the user',
    sentBy: 1,
    calls: [['GET /:uid/tasks', 404, `${nothing} /openapi.json lists the paths.`]],
  },
  {
    what: "Better Auth's own paths",
    sentBy: 3,
    calls: [
      [`POST /api/auth/sign-in/email ${ada}`, 404, betterAuth],
      [`POST /api/auth/sign-up/email ${ada}`, 404, betterAuth],
      ['GET /api/auth/get-session', 404, betterAuth],
    ],
  },
  {
    what: 'a session cookie',
    sentBy: 3,
    headers: { cookie: 'better-auth.session_token=kQ3vXr9ZbT1mW7cY5nL8pH2sD6gJ4fAe.c2lnbmF0dXJl' },
    calls: [['GET /todos', 401, 'Missing token']],
  },
  {
    what: 'the token of a session',
    sentBy: 3,
    headers: { authorization: 'Bearer kQ3vXr9ZbT1mW7cY5nL8pH2sD6gJ4fAe' },
    calls: [['GET /todos', 401, 'Invalid token']],
  },
]
const READ_AN_ENVELOPE = 6
const READ_DETAIL = 13

t.test('the calls of 17 front ends', async (t) => {
  const app = await build(t)
  const { id: uid, headers } = await identity()
  const email = `${uid}@example.com`
  async function call(request: string, instead?: Form['headers']) {
    const { id } = (await app.inject({ method: 'POST', url: '/todos', headers, payload: task })).json()
    const [method, path, body] = request
      .replace(':uid', uid)
      .replace(':id', id)
      .replace(':email', email)
      .split(/ (.*?)(?: |$)(.*)/)
    return app.inject({
      method: method as 'GET',
      url: path as string,
      headers: { ...(instead ?? headers), ...(body && { 'content-type': 'application/json' }) },
      ...(body && { payload: body }),
    })
  }
  for (const { what, sentBy, calls } of WORK) {
    await t.test(`${what}: ${sentBy} of 17`, async (t) => {
      for (const [request, answer = {}] of calls) {
        const { statusCode, body } = await call(request)
        t.ok(statusCode === 200 || statusCode === 201, `${request} is ${statusCode}`)
        t.match(JSON.parse(body), answer, 'and says what it was told')
      }
    })
  }
  for (const { what, sentBy, calls, headers } of REFUSED) {
    await t.test(`${what}: ${sentBy} of 17`, async (t) => {
      for (const [request, status, detail] of calls) {
        const { statusCode, body } = await call(request, headers)
        t.same([statusCode, JSON.parse(body).detail], [status, detail], request)
      }
    })
  }
  await t.test(`the detail of a failure: ${READ_DETAIL} of 17`, async (t) => {
    for (const request of ['POST /todos {}', 'POST /todos {"title":1,"colour":2}', 'GET /todos?limit=x']) {
      const { statusCode, body } = await call(request)
      t.equal(statusCode, 422)
      t.match(
        JSON.parse(body).detail,
        /^\w+ (is|must) \w+/,
        `${request}: one sentence, where FastAPI has a list`,
      )
    }
  })
  await t.test(`an envelope: ${READ_AN_ENVELOPE} of 17`, async (t) => {
    const [, line = ''] = /```ts\n(const list = .*)\n/.exec(PAGE) ?? []
    const file = join(t.testdir({ 'list.ts': `export ${line}` }), 'list.ts')
    const { list } = await import(pathToFileURL(file).href)
    const bare = JSON.parse((await call('GET /todos?limit=1')).body)
    t.match(bare, [task], 'they get the bare array')
    for (const body of [bare, { tasks: bare, count: 1 }, { items: bare }, { success: true, data: bare }])
      t.equal(list(body), bare, 'which one line reads, as it does what they expect')
  })

  const most = (forms: { sentBy: number }[]) => Math.max(...forms.map(({ sentBy }) => sentBy))
  t.ok(WORK.length >= 12, `${WORK.length} forms work, ${REFUSED.length} and envelopes do not`)
  t.ok(most(REFUSED) <= 5 && most(WORK) >= 12, 'no form that more than 5 of the 17 send is refused')
  // All that need a change may be the same front ends, or others for each form.
  const atMost = 17 - Math.max(READ_AN_ENVELOPE, most(REFUSED))
  const atLeast = 17 - REFUSED.reduce((sum, { sentBy }) => sum + sentBy, READ_AN_ENVELOPE)
  t.same([atMost, Math.max(atLeast, 0)], [11, 0], 'as docs/migrate-from-fastapi.md says')
})
