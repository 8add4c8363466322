import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { AccountDeleted, DeleteAccount, Export } from '../schemas/account.ts'
import { ref, response } from '../schemas/responses.ts'
import { Me } from '../schemas/service.ts'
import { tooManyAtOnce } from '../src/problem.ts'
import { UserData } from '../src/users.ts'

/** The signed-in user: who it is, and the export and deletion of everything stored about them. */
const me: FastifyPluginAsyncTypebox = async (app) => {
  app.addHook('onRequest', app.authenticate)
  const security = [{ bearer: [] }]
  const dataOf = ({ user, untimedScope: scope }: FastifyRequest) =>
    new UserData({ user, scope, accounts: app.accounts })

  // The users who are being sent one.
  const exporting = new Set<string>()

  for (const [url, operationId, tags] of [
    ['/me', 'getMe', ['user']],
    ['/api/auth/me', 'getMeAlias', ['aliases']],
  ] as const) {
    app.get(
      url,
      {
        schema: {
          operationId,
          tags,
          summary: 'The signed-in user',
          security,
          response: { 200: response(Me, 'The user of the token') },
        },
      },
      async ({ user }) => ({ user_id: user.id, email: user.email, authenticated: true as const }),
    )
  }

  app.get(
    '/me/export',
    {
      onSend: app.gzip,
      schema: {
        operationId: 'exportMe',
        tags: ['user'],
        summary: 'Everything stored about the user, as JSON',
        description: 'One at a time: 429 `too_many_at_once` while another is being sent.',
        security,
        response: { 200: response(Type.Unsafe<Readable>(ref(Export)), 'The stored data') },
      },
    },
    async (request, reply) => {
      const { id } = request.user
      if (exporting.has(id))
        throw tooManyAtOnce('An export of yours is under way. Try again when it is done.')
      exporting.add(id)
      reply.raw.once('close', () => exporting.delete(id))
      reply
        .type('application/json; charset=utf-8')
        .header('content-disposition', 'attachment; filename="export.json"')
      return reply.send(Readable.from(dataOf(request).export()))
    },
  )

  app.delete(
    '/me',
    {
      schema: {
        operationId: 'deleteMe',
        tags: ['user'],
        summary: 'Delete the user and everything stored about them',
        description:
          'Their tasks and, for a local account, the account and its refresh tokens. This cannot be undone. ' +
          'After a 503, send it again with the same token: it goes on.',
        security,
        body: ref(DeleteAccount),
        optionalBody: true,
        response: { 200: response(ref(AccountDeleted), 'Everything is deleted') },
      },
      preValidation: async (request) => {
        request.body ??= {}
      },
    },
    async (request) => {
      await dataOf(request).erase(request.body.password)
      return { message: 'Account deleted successfully' as const }
    },
  )
}

export default me
