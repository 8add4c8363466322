import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ref, response } from '../schemas/responses.ts'
import { TaskStats } from '../schemas/task.ts'
import { type TaskMountOptions, taskMount } from '../src/task-mount.ts'
import { Tasks } from '../src/tasks.ts'

/** The counts of tasks beside them, where some older front ends ask. */
const userStats: FastifyPluginAsyncTypebox<TaskMountOptions> = async (app, options) => {
  app.addHook('onRequest', app.authenticate)
  const { OfUser, route } = taskMount(app, options)

  app.get(
    '/stats',
    {
      schema: {
        ...route('getUserStats', 'Count tasks by state and priority'),
        params: OfUser,
        response: { 200: response(ref(TaskStats), 'The counts') },
      },
    },
    async ({ scope }) => new Tasks(scope).stats(),
  )
}

export default userStats
