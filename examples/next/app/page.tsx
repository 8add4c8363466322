import { headers } from 'next/headers'
import { redirect } from 'next/navigation'
import { TaskList } from '@/components/task-list'
import { auth } from '@/lib/auth'
import { type Page, PAGE_SIZE, pageOf, sentenceOf } from '@/lib/tasks'
import { requestTasks } from '@/lib/tasks.server'

/** The first page of the list is in the HTML: no empty page while scripts load. */
export default async function Home() {
  const session = await auth.api.getSession({ headers: await headers() })
  if (!session) redirect('/sign-in')

  const { id, name } = session.user
  let first: Page = { tasks: [] }
  let failure = ''
  try {
    const tasks = await requestTasks()
    first = pageOf(
      await tasks.GET('/api/{user_id}/tasks', {
        params: { path: { user_id: id }, query: { limit: PAGE_SIZE } },
      }),
    )
  } catch (error) {
    failure = sentenceOf(error)
  }
  return <TaskList user={{ id, name }} first={first} firstFailure={failure} />
}
