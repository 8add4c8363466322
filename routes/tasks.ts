import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { ETag, IdempotencyKey, IfMatch, IfNoneMatch } from '../schemas/headers.ts'
import { ref, response } from '../schemas/responses.ts'
import {
  Deleted,
  NewTask,
  SetCompleted,
  Task,
  TaskChange,
  TaskHeaders,
  TaskId,
  TaskStats,
} from '../schemas/task.ts'
import { notModified, versionsIn, withETag } from '../src/etag.ts'
import { keyIn } from '../src/idempotency.ts'
import { type TaskMountOptions, taskMount } from '../src/task-mount.ts'
import { linkAfter, pathOf, prefersCount, readQuery, TaskQuery } from '../src/task-query.ts'
import { Tasks } from '../src/tasks.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The tasks of the signed-in user. */
    readonly tasks: Tasks
  }
}

// Only digits: /stats is no task, and any other word is 404.
const TASK = '/:id(^\\d+$)'

const tasks: FastifyPluginAsyncTypebox<TaskMountOptions> = async (app, options) => {
  app.addHook('onRequest', app.authenticate)
  const { OfUser, route } = taskMount(app, options)
  const OfTask = Type.Composite([OfUser, TaskId]) as unknown as typeof TaskId
  app.decorateRequest('tasks', {
    getter() {
      return new Tasks(this.scope)
    },
  })

  app.get(
    '/',
    {
      onSend: app.gzip,
      schema: {
        ...route('listTasks', 'List tasks, newest first unless sorted'),
        params: OfUser,
        querystring: TaskQuery,
        headers: TaskHeaders,
        response: { 200: page },
      },
    },
    async ({ tasks, query, headers, url }, reply) => {
      const wanted = readQuery(query)
      const { tasks: page, next } = await tasks.list(wanted)
      const link = next && linkAfter(url, next)
      if (link) reply.header('link', link)
      if (query.count || prefersCount(headers.prefer))
        reply.header('x-total-count', await tasks.count(wanted.chosen))
      return page
    },
  )

  app.post(
    '/',
    {
      schema: {
        ...route('createTask', 'Create a task'),
        params: OfUser,
        body: ref(NewTask),
        headers: IdempotencyKey,
        response: { 201: created },
      },
    },
    async ({ tasks, body, headers, url }, reply) => {
      const task = await tasks.create(body, keyIn(headers['idempotency-key']))
      reply.code(201).header('location', `${pathOf(url)}/${task.id}`)
      if (task.replayed) reply.header('idempotency-replayed', 'true')
      return withETag(task, reply)
    },
  )

  for (const [path, operationId, isAlias] of [
    ['/stats', 'getTaskStats'],
    ['/statistics', 'getTaskStatistics', true],
  ] as const) {
    app.get(
      path,
      {
        schema: {
          ...route(operationId, 'Count tasks by state and priority', isAlias),
          params: OfUser,
          response: { 200: response(ref(TaskStats), 'The counts') },
        },
      },
      async ({ tasks }) => tasks.stats(),
    )
  }

  app.get(
    TASK,
    {
      schema: {
        ...route('getTask', 'Read a task'),
        params: OfTask,
        headers: Type.Composite([IfMatch, IfNoneMatch]),
        response: { 200: response(ref(Task), 'The task', { ETag }), 304: unchanged },
        problems: [412],
      },
      onSend: notModified,
    },
    async ({ tasks, params, headers }, reply) =>
      withETag(await tasks.find(params.id, versionsIn(headers['if-match'])), reply),
  )

  for (const [method, url, operationId, isAlias] of [
    ['PATCH', TASK, 'updateTask'],
    ['PUT', TASK, 'replaceTask'],
    ['PATCH', `${TASK}/status`, 'setTaskStatus', true],
  ] as const) {
    app.route({
      method,
      url,
      schema: {
        ...route(operationId, 'Change the fields sent', isAlias),
        params: OfTask,
        body: ref(TaskChange),
        headers: IfMatch,
        response: { 200: changed },
        problems: [412],
      },
      handler: async ({ tasks, params, body, headers }, reply) =>
        withETag(await tasks.change(params.id, body, versionsIn(headers['if-match'])), reply),
    })
  }

  app.delete(
    TASK,
    {
      schema: {
        ...route('deleteTask', 'Delete a task'),
        params: OfTask,
        headers: IfMatch,
        response: { 200: response(ref(Deleted), 'The task is deleted') },
        problems: [412],
      },
    },
    async ({ tasks, params, headers }) => {
      await tasks.remove(params.id, versionsIn(headers['if-match']))
      return { message: 'Task deleted successfully' as const }
    },
  )

  for (const [method, action, operationId, isAlias] of [
    ['PATCH', 'toggle', 'toggleTask'],
    ['PATCH', 'complete', 'completeTask'],
    ['POST', 'toggle', 'toggleTaskByPost', true],
    ['POST', 'complete', 'completeTaskByPost', true],
  ] as const) {
    app.route({
      method,
      url: `${TASK}/${action}`,
      schema: {
        ...route(operationId, 'Flip or set whether a task is completed', isAlias),
        params: OfTask,
        body: ref(SetCompleted),
        optionalBody: true,
        headers: IfMatch,
        response: { 200: changed },
        problems: [412],
      },
      // Without a body it flips.
      preValidation: async (request) => {
        request.body ??= {}
      },
      handler: async ({ tasks, params, body, headers }, reply) =>
        withETag(await tasks.toggle(params.id, body.completed, versionsIn(headers['if-match'])), reply),
    })
  }
}

export default tasks

const page = response(Type.Array(ref(Task)), 'The tasks', {
  Link: {
    type: 'string',
    description:
      'RFC 8288: the next page, if there is one. Not sent if its address would be longer than 3 KB, as with hundreds of ' +
      '`ids` and a lower `limit`: go on with `skip` then',
  },
  'X-Total-Count': { type: 'integer', description: 'The number of all matching tasks, if requested' },
})
const created = response(ref(Task), 'The new task', {
  Location: { type: 'string', description: 'Its path' },
  ETag,
  'Idempotency-Replayed': { type: 'string', description: '`true`: it was made before, under the same key' },
})
const changed = response(ref(Task), 'The task as it is now', { ETag })
const unchanged = response(Type.Null(), 'Its ETag is one of those in If-None-Match', { ETag })
