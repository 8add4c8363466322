// What the benchmark compares with: an idiomatic hand-written server, with a pool of 10, named statements and token
// verification, and without validation, isolation, limits and logging.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import pg from 'pg'
import { userOf } from './token.ts'

const { DATABASE_URL, PORT = '0' } = process.env
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 })
pg.types.setTypeParser(pg.types.builtins.INT8, Number)

const columns =
  'id, user_id, title, description, completed, priority, due_at, tags, due_at as due_date, created_at, updated_at'
const statements = {
  list: `select ${columns} from tasks where user_id = $1 order by id desc limit $2 offset $3`,
  // What bench/load.ts asks for: by hand each combination is a statement of its own.
  chosen: `select ${columns} from tasks where user_id = $1 and completed = $4 and title || ' ' || coalesce(description, '') ilike $5
    order by lower(title), id limit $2 offset $3`,
  get: `select ${columns} from tasks where user_id = $1 and id = $2`,
  create: `insert into tasks (user_id, title, description, completed, priority, due_at, tags)
    values ($1, $2, $3, $4, $5, $6, $7) returning ${columns}`,
  toggle: `update tasks set completed = not completed, updated_at = now() where user_id = $1 and id = $2 returning ${columns}`,
}

async function query(name: keyof typeof statements, values: unknown[]): Promise<unknown[]> {
  const { rows } = await pool.query({ name, text: statements[name], values })
  return rows
}

interface NewTask {
  title: string
  description?: string
  completed?: boolean
  priority?: string
  due_at?: string
  tags?: string[]
}

async function bodyOf(request: IncomingMessage): Promise<NewTask> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString())
}

async function answer(request: IncomingMessage): Promise<[status: number, body: unknown]> {
  const user = userOf(request)
  if (user === undefined) return [401, { detail: 'Invalid token' }]
  const url = new URL(request.url ?? '/', 'http://localhost')
  const [, , id, action] = url.pathname.split('/')
  if (request.method === 'POST') {
    const { title, description, completed, priority, due_at, tags } = await bodyOf(request)
    const values = [
      title,
      description ?? null,
      completed ?? false,
      priority ?? null,
      due_at ?? null,
      tags ?? [],
    ]
    return [201, (await query('create', [user, ...values]))[0]]
  }
  if (id === undefined) {
    const { limit = '100', skip = '0', status, search } = Object.fromEntries(url.searchParams)
    const page = [user, limit, skip]
    if (!search) return [200, await query('list', page)]
    return [200, await query('chosen', [...page, status === 'completed', `%${search}%`])]
  }
  const [task] = await query(action === 'toggle' ? 'toggle' : 'get', [user, id])
  return task ? [200, task] : [404, { detail: 'Task not found' }]
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}

const server = createServer((request, response) => {
  answer(request).then(
    ([status, body]) => send(response, status, body),
    () => send(response, 500, { detail: 'Internal server error' }),
  )
})
server.listen(Number(PORT), '127.0.0.1')
process.on('SIGTERM', () => server.close(() => pool.end()))
