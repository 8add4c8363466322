import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { ref, response } from '../schemas/responses.ts'
import { Affected, NewTasks, Task, TaskChange } from '../schemas/task.ts'
import { ManyTasks } from '../src/many-tasks.ts'
import { validationFailed } from '../src/problem.ts'
import { readSelection } from '../src/task-filters.ts'
import { type TaskMountOptions, taskMount } from '../src/task-mount.ts'
import { TaskSelection } from '../src/task-query.ts'

const MANY_BYTES = 4 * 1024 * 1024

/** What is done to several tasks at once. */
const manyTasks: FastifyPluginAsyncTypebox<TaskMountOptions> = async (app, options) => {
  app.addHook('onRequest', app.authenticate)
  const { OfUser, route } = taskMount(app, options)
  app.addHook('onRequest', refuseConditions)

  app.post(
    '/bulk',
    {
      bodyLimit: MANY_BYTES,
      onSend: app.gzip,
      schema: {
        ...route('createTasks', 'Create up to 1,000 tasks, or none of them'),
        params: OfUser,
        body: ref(NewTasks),
        response: { 201: response(Type.Array(ref(Task)), 'The new tasks, in the order of their ids') },
      },
      // An export has them in its tasks.
      preValidation: async (request) => {
        const { tasks } = Object(request.body)
        if (Array.isArray(tasks)) request.body = tasks
      },
    },
    async ({ scope, body }, reply) => {
      reply.code(201)
      return new ManyTasks(scope).create(body)
    },
  )

  app.patch(
    '/',
    {
      schema: {
        ...route('updateTasks', 'Change the fields sent of all tasks that one or more filters choose'),
        params: OfUser,
        querystring: TaskSelection,
        body: ref(TaskChange),
        response: { 200: affected },
      },
    },
    async ({ scope, query, body }) => new ManyTasks(scope).change(readSelection(query), body),
  )

  app.delete(
    '/',
    {
      schema: {
        ...route('deleteTasks', 'Delete all tasks that one or more filters choose'),
        params: OfUser,
        querystring: TaskSelection,
        response: { 200: affected },
      },
      // Ids that it might hold would be passed over, and more deleted than was meant.
      preValidation: async ({ body }) => {
        if (Object.keys(body ?? {}).length > 0) throw notInBody()
      },
    },
    async ({ scope, query }) => new ManyTasks(scope).remove(readSelection(query)),
  )
}

export default manyTasks

/** Who sends one relies on it: it must not be passed over. */
async function refuseConditions({ headers }: FastifyRequest) {
  const name = ['idempotency-key', 'if-match'].find((name) => headers[name] !== undefined)
  if (name === undefined) return
  throw validationFailed([{ loc: ['header', name], msg: 'is for one task, not for several', type: 'one' }])
}

const notInBody = () =>
  validationFailed([
    { loc: ['body'], msg: 'must be empty: ids and filters are in the query', type: 'maxProperties' },
  ])

const affected = response(ref(Affected), 'How many tasks it was done to')
