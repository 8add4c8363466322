import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Task } from '../../schemas/task.ts'
import { build, identity } from '../helper/app.ts'

// EDITS=1000 makes it long.
const EDITS = Number(process.env.EDITS ?? 100)
const AT_ONCE = 20

t.test(`no update is lost of ${EDITS} at once`, async (t) => {
  const app = await build(t)
  const { headers: ada } = await identity()
  const send = (method: 'GET' | 'POST' | 'PATCH', url: string, payload?: object, more = {}) =>
    app.inject({ method, url, payload, headers: { ...ada, ...more } })
  const created = await send('POST', '/todos', { title: 'x' })
  const url = `/todos/${created.json<Task>().id}`
  let left = EDITS
  let refused = 0
  const edit = async (): Promise<void> => {
    const { headers, ...read } = await send('GET', url)
    const count = Number(read.json<Task>().description ?? 0)
    await sleep(Math.random() * 2) // think
    const changed = await send('PATCH', url, { description: String(count + 1) }, { 'if-match': headers.etag })
    if (changed.statusCode === 200) return
    t.equal(changed.statusCode, 412, 'what is not done is 412')
    refused += 1
    return edit()
  }
  const worker = async () => {
    while (left-- > 0) await edit()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  t.equal((await send('GET', url)).json<Task>().description, String(EDITS), 'each was counted')
  t.ok(refused > 0, `${refused} were refused, and repeated`)
})
