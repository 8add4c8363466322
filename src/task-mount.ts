import { type Static, Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import { TaskOwner } from '../schemas/task.ts'
import { HttpProblem } from './problem.ts'

export interface TaskMountOptions {
  /** What each operationId ends with, where it is not the first mount. */
  idSuffix?: string
  /** Whether the prefix is an alias, which the documentation marks as such. */
  alias?: boolean
}

interface App {
  prefix: string
  addHook(name: 'onRequest', hook: onRequestAsyncHookHandler): unknown
}

/**
 * What the routes of tasks share at one prefix. If that names a user, it must be the signed-in one: call this after the
 * hook that authenticates.
 */
export function taskMount(app: App, { idSuffix = '', alias = false }: TaskMountOptions) {
  const namesUser = app.prefix.includes(':user_id')
  if (namesUser) app.addHook('onRequest', refuseOtherUser)
  return {
    // Params are validated as a whole, so the schema includes :user_id if the prefix has it.
    OfUser: Type.Composite([...(namesUser ? [TaskOwner] : []), Type.Object({})]),
    route: (operationId: string, summary: string, isAlias = false) => ({
      operationId: `${operationId}${idSuffix}`,
      summary,
      tags: alias || isAlias ? ['aliases'] : ['tasks'],
      security: [{ bearer: [] }],
    }),
  }
}

/** Runs before any query, so that no answer shows whether the user in the path exists. */
async function refuseOtherUser({ params, user }: FastifyRequest, reply: FastifyReply) {
  const { user_id } = params as Static<typeof TaskOwner>
  if (user_id === user.id) return
  if (/^v\d+$/.test(user_id)) return reply.callNotFound() // /api/v2/tasks names a version, not a user
  throw new HttpProblem(403, 'forbidden', 'The path names another user than the token.')
}
