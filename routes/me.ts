import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Erased, Erasure, Export } from '../schemas/account.ts'
import { answer, problems, ref } from '../schemas/answers.ts'
import { Me } from '../schemas/service.ts'
import { Tasks } from '../src/tasks.ts'

/** The signed-in user: who it is, all that is held about them, and its end. */
const me: FastifyPluginAsyncTypebox = async (app) => {
  app.addHook('onRequest', app.authenticate)
  const security = [{ bearer: [] }]
  const failures = problems(400, 401, 403, 429, 500, 503)

  for (const [url, tags] of [
    ['/me', ['user']],
    ['/api/auth/me', ['aliases']],
  ] as const) {
    app.get(
      url,
      {
        schema: {
          tags,
          summary: 'The signed-in user',
          security,
          response: { 200: answer(Me, 'Who the token says'), ...failures },
        },
      },
      async ({ user }) => ({ user_id: user.id, email: user.email, authenticated: true as const }),
    )
  }

  app.get(
    '/me/export',
    {
      schema: {
        tags: ['user'],
        summary: 'All that is held about the user, as JSON',
        security,
        response: { 200: answer(ref(Export), 'What is held'), ...failures },
      },
    },
    async ({ user, scope }, reply) => {
      const { id, email } = user
      const account = (await app.accounts?.find(id)) ?? null
      reply
        .type('application/json; charset=utf-8')
        .header('content-disposition', 'attachment; filename="export.json"')
      return reply.send(Readable.from(exportOf({ user: { id, email }, account }, new Tasks(scope))))
    },
  )

  app.delete(
    '/me',
    {
      schema: {
        tags: ['user'],
        summary: 'Delete the user with all that is held about them',
        description:
          'Their tasks and, for a local account, the account and its refresh tokens. There is no way back.',
        security,
        body: ref(Erasure),
        response: { 200: answer(ref(Erased), 'It is deleted'), ...failures, ...problems(413, 415, 422) },
      },
      preValidation: async (request) => {
        request.body ??= {}
      },
    },
    async ({ user, scope, body }) => {
      const erasure = (await app.accounts?.erasure(user.id, body.password)) ?? []
      await app.database.run([...erasure, new Tasks(scope).erasure()])
      return { message: 'Account deleted successfully' as const }
    },
  )
}

export default me

/** The export, piece by piece, so that it takes no more memory than a page of tasks. */
async function* exportOf(about: object, tasks: Tasks): AsyncGenerator<string> {
  yield `${JSON.stringify(about).slice(0, -1)},"tasks":[`
  let separator = ''
  for await (const task of tasks.all()) {
    yield separator + JSON.stringify(task)
    separator = ','
  }
  yield ']}'
}
