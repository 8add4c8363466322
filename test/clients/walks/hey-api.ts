// A front end's day with @hey-api/openapi-ts.
import assert from 'node:assert/strict'
import { client } from '../generated/hey-api/client.gen.ts'
import { createTask, getTask, listTasks, signUp, toggleTask } from '../generated/hey-api/sdk.gen.ts'
import type { Problem, Task } from '../generated/hey-api/types.gen.ts'

client.setConfig({ baseUrl: process.env.TASKS_URL })
const { data: session } = await signUp({
  body: { email: 'hey-api@example.com', password: 'correct horse battery staple', name: 'Ada' },
})
assert.ok(session)
client.setConfig({ auth: session.data.token })

const created = await createTask({ body: { title: 'pick up milk' } })
assert.ok(created.data)
const task: Task = created.data
assert.deepEqual((await listTasks({ query: { completed: false, limit: 10 } })).data, [task])
assert.equal((await toggleTask({ path: { id: task.id } })).data?.completed, true)

const { error } = await getTask({ path: { id: task.id + 1 } })
assert.ok(error)
const problem: Problem = error
assert.equal(problem.code, 'task_not_found')
