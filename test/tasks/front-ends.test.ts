import t from 'tap'
import { build, identity } from '../helper/app.ts'

// The calls of 17 front ends that were written for older services, as forms, each with the number of those that send it.
//
// A call works if it succeeds and, where it says something of a task, the answer says the same by the same name, or what
// it sets shows in `completed`. What an answer is wrapped in, the front ends read themselves: six of them expect an
// envelope, and need one line for that (docs/migrate-from-fastapi.md). No other call has to be changed to work.

interface Form {
  what: string
  /** Of the 17; as far as it was counted. */
  sentBy: number
  /** `METHOD path body`, and what the answer has. */
  calls: [call: string, answer?: object][]
}
interface Refused extends Omit<Form, 'calls'> {
  /** With the status and the sentence. */
  calls: [call: string, status: number, detail: string][]
}

const task = { title: 'Buy milk' }
const ada = '{"email":"ada@example.com","password":"correct horse battery"}'
const due = '2026-12-01T00:00:00.000Z'

const WORK: Form[] = [
  {
    what: 'create, list, read, change, toggle, delete',
    sentBy: 12,
    calls: ['/api/:uid/tasks', '/api/tasks', '/todos'].flatMap((at): Form['calls'] => [
      [`GET ${at}`],
      [`GET ${at}/`],
      [`GET ${at}?skip=0&limit=10`],
      [`POST ${at} {"title":"Buy milk"}`, task],
      [`GET ${at}/:id`, task],
      [`PUT ${at}/:id {"title":"Buy bread"}`, { title: 'Buy bread' }],
      [`PATCH ${at}/:id {"completed":true}`, { completed: true }],
      [`PATCH ${at}/:id/complete`, { completed: true }],
      [`PATCH ${at}/:id/toggle {"completed":true}`, { completed: true }],
      [`DELETE ${at}/:id`],
    ]),
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
    calls: [['GET /api/todos'], ['GET /tasks/'], ['GET /v1/:uid/tasks'], ['GET /api/v1/tasks']],
  },
  {
    what: 'several at once, and statistics',
    sentBy: 3,
    calls: [
      ['POST /api/:uid/tasks/bulk [{"title":"Buy milk"}]', [task]],
      ['GET /todos/statistics', { total: Number }],
    ],
  },
]

const nothing = 'There is nothing at this path.'
const REFUSED: Refused[] = [
  {
    what: 'a category',
    sentBy: 4,
    calls: [['POST /todos {"title":"Buy milk","category":"home"}', 422, 'category is unknown: use tags']],
  },
  {
    what: 'no value',
    sentBy: 1,
    calls: [['GET /todos?completed=undefined', 422, 'completed must be true or false']],
  },
  {
    what: 'paths that are elsewhere, or nowhere',
    sentBy: 3,
    calls: [
      [
        'POST /todos/reorder []',
        404,
        `${nothing} Tasks have no order of their own: a list takes sort and order.`,
      ],
      ['GET /todos/export?format=json', 404, `${nothing} The export is at /me/export.`],
      ['GET /api/:uid/stats', 404, `${nothing} The counts are at /todos/stats.`],
      ['GET /api/:uid/tags', 404, `${nothing} /openapi.json lists the paths.`],
      ['GET /:uid/tasks', 404, `${nothing} /openapi.json lists the paths.`],
    ],
  },
  {
    what: 'other sign-ins',
    sentBy: 3,
    calls: [
      [`POST /api/auth/signup ${ada}`, 422, 'name is required'],
      [
        `POST /api/auth/login ${ada}`,
        404,
        `${nothing} Local accounts have signup, signin and signout at /api/auth.`,
      ],
      [
        `POST /api/auth/sign-in/email ${ada}`,
        404,
        `${nothing} It is a path of Better Auth, which is at another address.`,
      ],
      [
        'GET /api/auth/get-session',
        404,
        `${nothing} It is a path of Better Auth, which is at another address.`,
      ],
    ],
  },
]

t.test('the calls of 17 front ends', async (t) => {
  const app = await build(t)
  const { id: uid, headers } = await identity()
  async function call(request: string) {
    const { id } = (await app.inject({ method: 'POST', url: '/todos', headers, payload: task })).json()
    const [method, path, body] = request
      .replace(':uid', uid)
      .replace(':id', id)
      .split(/ (.*?)(?: |$)(.*)/)
    return app.inject({
      method: method as 'GET',
      url: path as string,
      headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
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
  for (const { what, sentBy, calls } of REFUSED) {
    await t.test(`${what}: ${sentBy} of 17`, async (t) => {
      for (const [request, status, detail] of calls) {
        const { statusCode, body } = await call(request)
        t.same([statusCode, JSON.parse(body).detail], [status, detail], request)
      }
    })
  }
  t.ok(WORK.length >= 12, `${WORK.length} forms work, ${REFUSED.length} do not`)
  const most = (forms: { sentBy: number }[]) => Math.max(...forms.map(({ sentBy }) => sentBy))
  t.ok(most(REFUSED) <= 5 && most(WORK) >= 12, 'no form that more than 5 of the 17 send is refused')
})
