import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ETag, IdempotencyKey, IfMatch, IfNoneMatch } from '../schemas/headers.ts'
import { ref, response } from '../schemas/responses.ts'
import {
  SetCompleted,
  Deleted,
  NewTask,
  Task,
  TaskChange,
  TaskHeaders,
  TaskId,
  TaskOwner,
  TaskQuery,
  TaskStats,
} from '../schemas/task.ts'
import { notModified, versionsIn, withETag } from '../src/etag.ts'
import { keyIn } from '../src/idempotency.ts'
import { HttpProblem } from '../src/problem.ts'
import { pageAfter, pathOf, prefersCount, readQuery } from '../src/task-query.ts'
import { Tasks } from '../src/tasks.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The tasks of the signed-in user. */
    readonly tasks: Tasks
  }
}

export interface TaskRoutesOptions {
  /** What each operationId ends with, where it is not the first mount. */
  idSuffix?: string
  /** Whether the prefix is an alias, which the documentation marks as such. */
  alias?: boolean
}

// Only digits: /stats is no task, and any other word is 404.
const TASK = '/:id(^\\d+$)'

const tasks: FastifyPluginAsyncTypebox<TaskRoutesOptions> = async (app, { idSuffix = '', alias = false }) => {
  app.addHook('onRequest', app.authenticate)
  const namesUser = app.prefix.includes(':user_id')
  if (namesUser) app.addHook('onRequest', refuseOtherUser)
  app.decorateRequest('tasks', {
    getter() {
      return new Tasks(this.scope)
    },
  })

  // Params are validated as a whole, so the schema includes :user_id if the prefix has it.
  const owner = namesUser ? [TaskOwner] : []
  const OfUser = Type.Composite([...owner, Type.Object({})])
  const OfTask = Type.Composite([...owner, TaskId]) as unknown as typeof TaskId
  const route = (operationId: string, summary: string) => ({
    operationId: `${operationId}${idSuffix}`,
    summary,
    tags: alias ? ['aliases'] : ['tasks'],
    security: [{ bearer: [] }],
  })

  app.get(
    '/',
    {
      onSend: app.gzip,
      schema: {
        ...route('listTasks', 'List tasks, newest first'),
        params: OfUser,
        querystring: TaskQuery,
        headers: TaskHeaders,
        response: { 200: page },
      },
    },
    async ({ tasks, query, headers, url }, reply) => {
      const wanted = readQuery(query)
      const { tasks: page, next } = await tasks.list(wanted)
      if (next) reply.header('link', `<${pageAfter(url, next)}>; rel="next"`)
      if (query.count || prefersCount(headers.prefer))
        reply.header('x-total-count', await tasks.count(wanted))
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

  app.get(
    '/stats',
    {
      schema: {
        ...route('getTaskStats', 'Count tasks by state'),
        params: OfUser,
        response: { 200: response(ref(TaskStats), 'The counts') },
      },
    },
    async ({ tasks }) => tasks.stats(),
  )

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

  for (const [method, operationId] of [
    ['PATCH', 'updateTask'],
    ['PUT', 'replaceTask'],
  ] as const) {
    app.route({
      method,
      url: TASK,
      schema: {
        ...route(operationId, 'Change the fields sent'),
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

  for (const action of ['toggle', 'complete']) {
    app.patch(
      `${TASK}/${action}`,
      {
        schema: {
          ...route(`${action}Task`, 'Flip or set whether a task is completed'),
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
      },
      async ({ tasks, params, body, headers }, reply) =>
        withETag(await tasks.toggle(params.id, body.completed, versionsIn(headers['if-match'])), reply),
    )
  }
}

export default tasks

/** Runs before any query, so that no answer shows whether the user in the path exists. */
async function refuseOtherUser({ params, user }: FastifyRequest, reply: FastifyReply) {
  const { user_id } = params as Static<typeof TaskOwner>
  if (user_id === user.id) return
  if (/^v\d+$/.test(user_id)) return reply.callNotFound() // /api/v1/tasks names a version, not a user
  throw new HttpProblem(403, 'forbidden', 'The path names another user than the token.')
}

const page = response(Type.Array(ref(Task)), 'The tasks', {
  Link: { type: 'string', description: 'RFC 8288: the next page, if there is one' },
  'X-Total-Count': { type: 'integer', description: 'The number of all matching tasks, if requested' },
})
const created = response(ref(Task), 'The new task', {
  Location: { type: 'string', description: 'Its path' },
  ETag,
  'Idempotency-Replayed': { type: 'string', description: '`true`: it was made before, under the same key' },
})
const changed = response(ref(Task), 'The task as it is now', { ETag })
const unchanged = response(Type.Null(), 'Its ETag is one of those in If-None-Match', { ETag })
