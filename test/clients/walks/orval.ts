// A front end's day with orval: its client for fetch, and its validators for zod.
import assert from 'node:assert/strict'
import {
  createTask,
  getTask,
  listTasks,
  signUp,
  toggleTask,
  type Problem,
} from '../generated/orval/client.ts'
import { CreateTaskBody, ListTasksResponse } from '../generated/orval/validators.ts'

const session = await signUp({
  email: 'orval@example.com',
  password: 'correct horse battery staple',
  name: 'Ada',
})
assert.ok(session.status === 201)
const signedIn = { headers: { authorization: `Bearer ${session.data.data.token}` } }

const body = { title: 'pick up milk' } // refused by patterns that mean something else without the flag u
assert.ok(CreateTaskBody.safeParse(body).success)
assert.ok(!CreateTaskBody.safeParse({ title: ' ' }).success)

const created = await createTask(body, signedIn)
assert.ok(created.status === 201)
const listed = await listTasks({ completed: false, limit: 10 }, signedIn)
assert.deepEqual(ListTasksResponse.parse(listed.data), [created.data])
const toggled = await toggleTask(created.data.id, undefined, signedIn)
assert.ok(toggled.status === 200)
assert.equal(toggled.data.completed, true)

const missing = await getTask(created.data.id + 1, signedIn)
assert.ok(missing.status === 404)
const problem: Problem = missing.data
assert.equal(problem.code, 'task_not_found')
