import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Task } from '../../schemas/task.ts'
import { build, identity } from '../helper/app.ts'
import { ROOT } from '../helper/child.ts'

const PAGE = readFileSync(join(ROOT, 'docs/migrate-from-fastapi.md'), 'utf8')

type Row = [requests: string[], status: number, detail: string | undefined]

/** The rows whose first cell has requests: `METHOD /path body`, each in backticks. */
const rows = PAGE.split('\n').flatMap((line): Row[] => {
  const [, first = '', status = '', detail] = line.split('|').map((cell) => cell.trim())
  const requests = [...first.matchAll(/`([A-Z]+ \/[^`]*)`/g)].map(([, request = '']) => request)
  return requests.length > 0 && /^\d{3}$/.test(status) ? [[requests, Number(status), detail]] : []
})

t.test('docs/migrate-from-fastapi.md says what the service does', async (t) => {
  const app = await build(t)
  const { id: uid, headers } = await identity()
  const create = () => app.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } })

  t.ok(rows.length > 25, `${rows.length} rows were found`)
  for (const [requests, status, detail] of rows) {
    for (const request of requests) {
      const { id } = (await create()).json<Task>()
      const [method, path, body] = request
        .replace(':uid', uid)
        .replace(':id', String(id))
        .split(/ (.*?)(?: |$)(.*)/)
      const answer = await app.inject({
        method: method as 'GET',
        url: path as string,
        headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { payload: body }),
      })
      t.equal(answer.statusCode, status, request)
      if (detail) t.equal(answer.json().detail, detail, `${request}: the detail`)
    }
  }
})
