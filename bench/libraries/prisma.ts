// https://github.com/prisma/prisma-client-extensions/tree/main/row-level-security
import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaClient } from '../generated/prisma/client.ts'
import { DATABASE_URL, POOL, serve } from './serve.ts'

const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: DATABASE_URL, max: POOL }) })

const forUser = (user: string) =>
  prisma.$extends({
    query: {
      $allModels: {
        async $allOperations({ args, query }) {
          const [, result] = await prisma.$transaction([
            prisma.$executeRaw`select set_config('app.user_id', ${user}, true), set_config('role', 'taskward_user', true)`,
            query(args),
          ])
          return result
        },
      },
    },
  })

await serve(async (user, limit) => {
  const tasks = await forUser(user).task.findMany({
    where: { user_id: user },
    orderBy: { id: 'desc' },
    take: limit,
  })
  return tasks.map((task) => ({ ...task, id: Number(task.id), due_date: task.due_at }))
})
