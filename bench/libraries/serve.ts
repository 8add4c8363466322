// What the compared libraries share: a Fastify server with one route, which verifies the token and lists tasks.
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { Task } from '../../schemas/task.ts'
import { userOf } from '../token.ts'

export const { DATABASE_URL = '', PORT } = process.env
/** Connections, as many as the service has. */
export const POOL = 10

/** Lists the newest tasks of a user, as the library's guide for row-level security says. */
type List = (user: string, limit: number) => Promise<object[]>

export async function serve(list: List): Promise<void> {
  const app = Fastify()
  app.get<{ Querystring: { limit: number } }>(
    '/todos',
    {
      schema: {
        querystring: Type.Object({ limit: Type.Integer() }),
        response: { 200: Type.Array(Task) },
      },
    },
    async ({ raw, query }, reply) => {
      const user = userOf(raw)
      if (user === undefined) return reply.code(401).send()
      return list(user, query.limit)
    },
  )
  await app.listen({ port: Number(PORT), host: '127.0.0.1' })
  process.on('SIGTERM', () => process.exit())
}
