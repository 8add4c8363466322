// A front end's day with openapi-typescript and openapi-fetch. That it compiles is half of the test.
import assert from 'node:assert/strict'
import createClient from 'openapi-fetch'
import type { components, paths } from '../generated/types.ts'

const baseUrl = process.env.TASKS_URL
const { data: session } = await createClient<paths>({ baseUrl }).POST('/api/auth/signup', {
  body: { email: 'openapi-fetch@example.com', password: 'correct horse battery staple', name: 'Ada' },
})
assert.ok(session)
const api = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${session.data.token}` } })

const created = await api.POST('/todos', { body: { title: 'pick up milk', description: null } })
assert.equal(created.response.status, 201)
assert.ok(created.data)
const task: components['schemas']['Task'] = created.data
assert.equal(task.title, 'pick up milk')
const at = { params: { path: { id: task.id } } }
assert.equal(created.response.headers.get('location'), `/todos/${task.id}`)

await api.POST('/todos', { body: { title: 'call Bob' } })
const query = { limit: 1, status: 'pending', count: true } as const
const listed = await api.GET('/todos', { params: { query } })
assert.deepEqual(
  listed.data?.map(({ title }) => title),
  ['call Bob'],
)
assert.equal(listed.response.headers.get('x-total-count'), '2')
assert.equal((await api.GET('/todos')).data?.length, 2)

assert.deepEqual((await api.GET('/todos/{id}', at)).data, task)
const updated = await api.PATCH('/todos/{id}', { ...at, body: { description: 'two litres' } })
assert.equal(updated.data?.description, 'two litres')

const toggled = await api.PATCH('/todos/{id}/toggle', at)
assert.equal(toggled.data?.completed, true)
const completed = await api.PATCH('/todos/{id}/complete', { ...at, body: { completed: true } })
assert.equal(completed.data?.completed, true)
assert.equal((await api.GET('/todos/stats')).data?.completion_rate, 50)

const removed = await api.DELETE('/todos/{id}', at)
assert.equal(removed.data?.message, 'Task deleted successfully')

const { error } = await api.GET('/todos/{id}', at)
assert.ok(error)
const problem: components['schemas']['Problem'] = error
assert.equal(problem.status, 404)
assert.equal(problem.code, 'task_not_found')
// @ts-expect-error: there is no such code
assert.ok(problem.code !== 'todo_not_found')

// @ts-expect-error: a title is needed
assert.equal((await api.POST('/todos', { body: {} })).error?.errors?.[0]?.msg, 'is required')
// @ts-expect-error: there is no such status
const refused = await api.GET('/todos', { params: { query: { status: 'done' } } })
assert.equal(refused.error?.code, 'validation_failed')
assert.equal((await createClient<paths>({ baseUrl }).GET('/todos')).error?.code, 'missing_token')

assert.equal(
  (await api.DELETE('/me', { body: { password: 'correct horse battery staple' } })).response.status,
  200,
)
