import { execFile } from 'node:child_process'
import { appendFileSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import type { Task } from '../../schemas/task.ts'
import { SECRET } from '../helper/app.ts'
import { Child, clone, fails, PASSWORD } from '../helper/child.ts'
import { embeddedUrl } from '../helper/database.ts'
import { bearer, freePort, listen } from '../helper/http.ts'

const dev = (t: Test, folder: string, variables: Record<string, string>) =>
  new Child(t, ['src/dev.ts'], { PATH: process.env.PATH, HOST: '127.0.0.1', ...variables }, folder)

const bash = (command: string) => promisify(execFile)('bash', ['-c', command])
const secretOf = (file: string) => /^BETTER_AUTH_SECRET=(.*)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? ''

t.test('a fresh clone, and the day after', async (t) => {
  const folder = clone(t)
  const file = join(folder, '.env')
  const PORT = String(await freePort(t))
  const address = `http://localhost:${PORT}`

  const first = dev(t, folder, { PORT })
  const [, curl = ''] = await first.printed(/^(curl .+)$/)
  t.equal(statSync(file).mode & 0o777, 0o600, 'nobody else can read .env')
  t.match(secretOf(file), /^[\w-]{43}$/, '.env has a secret')
  t.notOk(first.stdout.includes(secretOf(file)), 'the secret is not printed')
  t.equal(
    readFileSync(file, 'utf8').replace(secretOf(file), ''),
    readFileSync(join(folder, '.env.example'), 'utf8'),
    'the rest is as in the example',
  )

  const created = await bash(`${curl} -w '\\n%{http_code}'`)
  const [body = '', status] = created.stdout.split('\n')
  t.equal(status, '201', 'the printed curl command creates a task')
  const task = JSON.parse(body) as Task
  const demo = { user_id: 'demo-user', title: 'My first task', completed: false }
  t.match(task, demo, 'it is a task of the demo user')

  const [, swagger = ''] = await first.printed(/^Swagger UI +(http\S+)$/)
  t.equal(swagger, `${address}/docs`, 'the printed address is that of Swagger UI')
  const page = await fetch(swagger)
  t.equal(page.status, 200, 'Swagger UI is there')
  t.match(page.headers.get('content-type'), /^text\/html/, 'as a page')

  const [, token = ''] = await first.printed(/^Token +(\S+)$/)
  const tasks = async () => (await fetch(`${address}/todos`, { headers: bearer(token) })).json()
  t.same(await tasks(), [task], 'the printed token is accepted')

  appendFileSync(join(folder, 'src', 'tasks.ts'), '\n// changed\n')
  await first.printed(/Server listening at /, 2)
  t.same(await tasks(), [task], 'a restart keeps the data')
  t.equal([...first.stdout.matchAll(/^curl /gm)].length, 1, 'the welcome is printed once')
  t.equal((await first.stop()).code, 0, 'it exits with code 0')
  await t.rejects(fetch(`${address}/health`), 'the server has gone with it')

  const before = readFileSync(file, 'utf8')
  const second = dev(t, folder, { PORT })
  await second.printed(/^curl /)
  t.equal(readFileSync(file, 'utf8'), before, '.env stays as it is')
  t.notMatch(second.stdout, /Made \.env/, 'and is not mentioned')
  t.same(await tasks(), [task], 'the token of the day before finds its task')
  t.equal(second.stderr, '', 'nothing on standard error')
  t.equal((await second.stop()).code, 0, 'it exits with code 0')
})

t.test('what keeps it from starting', async (t) => {
  const folder = clone(t)
  const file = join(folder, '.env')

  await t.test('a taken port', async (t) => {
    const PORT = String(await listen(t, createServer()))
    const taken = new RegExp(`Port ${PORT} is taken`)
    await fails(t, dev(t, folder, { PORT, DATABASE_URL: await embeddedUrl() }), taken)
  })

  await t.test('a wrong value, with a new .env', async (t) => {
    const secret = secretOf(file)
    rmSync(file)
    await fails(t, dev(t, folder, { PORT: 'http' }), /PORT must be integer/)
    t.match(secretOf(file), /^[\w-]{43}$/, '.env was made')
    t.not(secretOf(file), secret, 'each .env has a secret of its own')
  })

  for (const [line, sentence] of [
    ['not a line', /\.env line 3 is not NAME=value/],
    ['FRONTEND_URL: https://app.example.com', /\.env line 3 is not NAME=value/],
    ['PORT=http', /PORT must be integer/],
    ['FRONTEND_URL=*', /FRONTEND_URL: "\*" /],
    [`DATABASE_URL=mysql://ada:${PASSWORD}@db/tasks`, /DATABASE_URL: is neither/],
  ] as const) {
    await t.test(line, async (t) => {
      writeFileSync(file, `# mine\nBETTER_AUTH_SECRET=${SECRET}\n${line}\n`)
      await fails(t, dev(t, folder, {}), sentence)
    })
  }
})
