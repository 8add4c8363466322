import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ETag, IdempotencyKey, IfMatch, IfNoneMatch } from '../schemas/headers.ts'
import { ref, response } from '../schemas/responses.ts'
import {
  Affected,
  Deleted,
  NewTask,
  NewTasks,
  SetCompleted,
  Task,
  TaskChange,
  TaskHeaders,
  TaskId,
  TaskOwner,
  TaskStats,
} from '../schemas/task.ts'
import { notModified, versionsIn, withETag } from '../src/etag.ts'
import { keyIn } from '../src/idempotency.ts'
import { ManyTasks } from '../src/many-tasks.ts'
import { HttpProblem, validationFailed } from '../src/problem.ts'
import { readSelection } from '../src/task-filters.ts'
import { pageAfter, pathOf, prefersCount, readQuery, TaskQuery, TaskSelection } from '../src/task-query.ts'
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
const MANY_BYTES = 4 * 1024 * 1024

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
  const route = (operationId: string, summary: string, isAlias = false) => ({
    operationId: `${operationId}${idSuffix}`,
    summary,
    tags: alias || isAlias ? ['aliases'] : ['tasks'],
    security: [{ bearer: [] }],
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
      if (next) reply.header('link', `<${pageAfter(url, next)}>; rel="next"`)
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

  app.post(
    '/bulk',
    {
      bodyLimit: MANY_BYTES,
      onRequest: refuseConditions,
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
      onRequest: refuseConditions,
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
      onRequest: refuseConditions,
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

/** Runs before any query, so that no answer shows whether the user in the path exists. */
async function refuseOtherUser({ params, user }: FastifyRequest, reply: FastifyReply) {
  const { user_id } = params as Static<typeof TaskOwner>
  if (user_id === user.id) return
  if (/^v\d+$/.test(user_id)) return reply.callNotFound() // /api/v2/tasks names a version, not a user
  throw new HttpProblem(403, 'forbidden', 'The path names another user than the token.')
}

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
const affected = response(ref(Affected), 'How many tasks it was done to')
