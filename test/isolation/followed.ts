// Runs where the examples of docs/isolation.md were followed: example.test.ts does so in a copy of the repository.
import t from 'tap'
import { build, identity } from '../helper/app.ts'

t.test('notes', async (t) => {
  const app = await build(t)
  const [ada, bob] = [await identity(), await identity()]
  const write = (body: string, { headers } = ada) =>
    app.inject({ method: 'POST', url: '/notes', headers, payload: { body } })

  const made = await write('Call Bob')
  t.equal(made.statusCode, 201, 'a note is written')
  const url = `/notes/${made.json().id}`
  t.same((await app.inject({ url, headers: ada.headers })).json(), made.json(), 'and read')
  t.equal((await app.inject({ url, headers: bob.headers })).statusCode, 404, 'by its user alone')
  t.equal((await write('x'.repeat(1000))).statusCode, 201, '1,000 characters are taken')
  t.equal((await write('x'.repeat(1001))).statusCode, 422, 'one more is not')
  t.match((await write('a\0b')).json(), { status: 422, code: 'validation_failed' }, 'NUL is refused')
  t.equal((await write('a\ud800b')).statusCode, 422, 'and half of a surrogate pair')
  await write("Bob's", bob)

  const exported = async ({ headers }: typeof ada) =>
    (await app.inject({ url: '/me/export', headers })).json()
  t.same((await exported(ada)).notes.length, 2, 'the export has them')
  t.match((await exported(ada)).notes.at(-1), { user_id: ada.id, body: 'Call Bob' })
  await app.inject({ method: 'DELETE', url: '/me', headers: ada.headers })
  t.same((await exported(ada)).notes, [], 'none is left when the user is deleted')
  t.match((await exported(bob)).notes, [{ body: "Bob's" }], 'of that user')
})

t.test('projects', async (t) => {
  const app = await build(t)
  const [ada, bob] = [await identity(), await identity()]
  const list = async ({ headers }: typeof ada, words?: string) =>
    (await app.inject({ url: '/projects', query: words === undefined ? {} : { words }, headers })).json()
  const post = (url: string, payload: object, { headers } = ada) =>
    app.inject({ method: 'POST', url, headers, payload })

  const { id } = (await post('/projects', { name: 'Move house' })).json()
  const { id: empty } = (await post('/projects', { name: 'Learn the cello' })).json()
  const { id: bobs } = (await post('/projects', { name: 'House music' }, bob)).json()
  const tasks = []
  for (const title of ['Find a flat', 'Pack', 'Tell the bank'])
    tasks.push((await post(`/projects/${id}/tasks`, { title })).json())
  await post(`/projects/${bobs}/tasks`, { title: 'Listen' }, bob)
  await app.inject({ method: 'PATCH', url: `/todos/${tasks[0].id}/complete`, headers: ada.headers })

  const [house, cello] = [
    { id, name: 'Move house', open_tasks: 2 },
    { id: empty, name: 'Learn the cello', open_tasks: 0 },
  ]
  t.same(await list(ada), [cello, house], 'each with its open tasks')
  t.same(await list(ada, 'HOUSE move'), [house], 'found by its words, in any order')
  t.same(await list(ada, 'house -move'), [], 'not by others')
  t.same(await list(ada, "'"), [], 'nothing breaks the search')
  t.same(await list(bob), [{ id: bobs, name: 'House music', open_tasks: 1 }], 'each user has their own')

  const foreign = await post(`/projects/${bobs}/tasks`, { title: 'x' })
  const missing = await post('/projects/999999999/tasks', { title: 'x' })
  t.equal(foreign.statusCode, 404, "no task goes into another user's project")
  t.equal(foreign.json().code, missing.json().code, 'as into none')
  t.equal((await list(bob))[0].open_tasks, 1, 'and none is there')
  for (const [url, body] of [
    ['/projects', { name: 'a\0b' }],
    ['/projects', { name: 'x'.repeat(101) }],
    [`/projects/${id}/tasks`, { title: 'a\0b' }],
    [`/projects/${id}/tasks`, { title: '' }],
  ] as const)
    t.equal((await post(url, body)).statusCode, 422, `${url} refuses ${JSON.stringify(body).slice(0, 20)}`)
  t.equal((await app.inject({ url: '/projects?words=%00', headers: ada.headers })).statusCode, 422, 'NUL')

  const exported = async ({ headers }: typeof ada) =>
    (await app.inject({ url: '/me/export', headers })).json()
  t.match((await exported(ada)).projects, [{ name: 'Learn the cello' }, { name: 'Move house' }], 'exported')
  t.match((await exported(ada)).tasks, [{ project_id: id }, {}, {}], 'with the tasks in them')
  const erased = await app.inject({ method: 'DELETE', url: '/me', headers: ada.headers })
  t.equal(erased.statusCode, 200, 'tasks go before the projects that they refer to')
  t.match(await exported(ada), { projects: [], tasks: [] }, 'none is left')
  t.equal((await list(bob)).length, 1, "of that user's")
})
