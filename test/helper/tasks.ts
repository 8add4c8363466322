import type { Task } from '../../schemas/task.ts'

/** Creates and lists tasks of one user over HTTP. */
export const tasksOver = (headers: Record<string, string>) => ({
  add: (url: string, title: string) =>
    fetch(`${url}/todos`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ title }),
    }),
  async titles(url: string): Promise<string[]> {
    const tasks = (await (await fetch(`${url}/todos`, { headers })).json()) as Task[]
    return tasks.map(({ title }) => title)
  },
})
