import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
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
import { HttpProblem } from '../src/problem.ts'
import { Tasks } from '../src/tasks.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The tasks of the signed-in user. */
    readonly tasks: Tasks
  }
}

export interface TaskRoutesOptions {
  /** Whether the prefix is an alias, which the documentation marks as such. */
  alias?: boolean
}

// Excludes /stats, or DELETE /stats would be 422 rather than 405.
const TASK = '/:id(^(?!stats$).+)'

const tasks: FastifyPluginAsyncTypebox<TaskRoutesOptions> = async (app, { alias = false }) => {
  app.addHook('onRequest', app.authenticate)
  app.addHook('onRequest', refuseOtherUser)
  app.decorateRequest('tasks', {
    getter() {
      return new Tasks(this.scope)
    },
  })

  // Params are validated as a whole, so the schema includes :user_id if the prefix has it.
  const owner = app.prefix.includes(':user_id') ? [TaskOwner] : []
  const OfUser = Type.Composite([...owner, Type.Object({})])
  const OfTask = Type.Composite([...owner, TaskId]) as unknown as typeof TaskId
  const route = (summary: string) => ({
    summary,
    tags: alias ? ['aliases'] : ['tasks'],
    security: [{ bearer: [] }],
  })
  const common = [400, 401, 403, 422, 429, 500, 503]
  const ofTask = [...common, 404]
  const withBody = [413, 415]

  app.get(
    '/',
    {
      schema: {
        ...route('List tasks, newest first'),
        params: OfUser,
        querystring: TaskQuery,
        headers: TaskHeaders,
        response: { 200: page },
        problems: common,
      },
    },
    async ({ tasks, query, headers, url }, reply) => {
      const { tasks: page, next } = await tasks.list(query)
      if (next) reply.header('link', `<${pageAfter(url, next)}>; rel="next"`)
      if (query.count || prefersCount(headers.prefer)) reply.header('x-total-count', await tasks.count(query))
      return page
    },
  )

  app.post(
    '/',
    {
      schema: {
        ...route('Create a task'),
        params: OfUser,
        body: ref(NewTask),
        response: { 201: created },
        problems: [...common, ...withBody],
      },
    },
    async ({ tasks, body, url }, reply) => {
      const task = await tasks.create(body)
      reply.code(201).header('location', `${pathOf(url)}/${task.id}`)
      return task
    },
  )

  app.get(
    '/stats',
    {
      schema: {
        ...route('Count tasks by state'),
        params: OfUser,
        response: { 200: response(ref(TaskStats), 'The counts') },
        problems: common,
      },
    },
    async ({ tasks }) => tasks.stats(),
  )

  app.get(
    TASK,
    {
      schema: {
        ...route('Read a task'),
        params: OfTask,
        response: { 200: response(ref(Task), 'The task') },
        problems: ofTask,
      },
    },
    async ({ tasks, params }) => tasks.find(params.id),
  )

  for (const method of ['PUT', 'PATCH'] as const) {
    app.route({
      method,
      url: TASK,
      schema: {
        ...route('Change the fields sent'),
        params: OfTask,
        body: ref(TaskChange),
        response: { 200: response(ref(Task), 'The task as it is now') },
        problems: [...ofTask, ...withBody],
      },
      handler: async ({ tasks, params, body }) => tasks.change(params.id, body),
    })
  }

  app.delete(
    TASK,
    {
      schema: {
        ...route('Delete a task'),
        params: OfTask,
        response: { 200: response(ref(Deleted), 'The task is deleted') },
        problems: ofTask,
      },
    },
    async ({ tasks, params }) => {
      await tasks.remove(params.id)
      return { message: 'Task deleted successfully' as const }
    },
  )

  for (const url of [`${TASK}/toggle`, `${TASK}/complete`]) {
    app.patch(
      url,
      {
        schema: {
          ...route('Flip or set whether a task is completed'),
          params: OfTask,
          body: ref(SetCompleted),
          response: { 200: response(ref(Task), 'The task as it is now') },
          problems: [...ofTask, ...withBody],
        },
        // Without a body it flips.
        preValidation: async (request) => {
          request.body ??= {}
        },
      },
      async ({ tasks, params, body }) => tasks.toggle(params.id, body.completed),
    )
  }
}

export default tasks

/** Runs before any query, so that no answer shows whether the user in the path exists. */
async function refuseOtherUser({ params, user }: FastifyRequest): Promise<void> {
  const { user_id } = params as Partial<Static<typeof TaskOwner>>
  if (user_id !== undefined && user_id !== user.id) {
    throw new HttpProblem(403, 'forbidden', 'Forbidden')
  }
}

/** RFC 7240: `Prefer: count=exact` among other preferences. */
function prefersCount(prefer = ''): boolean {
  return prefer.split(',').some((preference) => /^\s*count\s*=\s*"?exact"?\s*(;|$)/i.test(preference))
}

function pathOf(url: string): string {
  return (url.split('?', 1)[0] as string).replace(/\/$/, '')
}

function pageAfter(url: string, cursor: string): string {
  const query = new URLSearchParams(url.split('?')[1])
  query.delete('skip') // the cursor starts after what was skipped
  query.set('cursor', cursor)
  return `${pathOf(url)}?${query}`
}

const page = response(Type.Array(ref(Task)), 'The tasks', {
  Link: { type: 'string', description: 'RFC 8288: the next page, if there is one' },
  'X-Total-Count': { type: 'integer', description: 'The number of all matching tasks, if requested' },
})
const created = response(ref(Task), 'The new task', { Location: { type: 'string', description: 'Its path' } })
