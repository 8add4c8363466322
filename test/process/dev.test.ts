import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import type { Task } from '../../schemas/task.ts'
import { SECRET } from '../helper/app.ts'

t.setTimeout(300_000)

/** A fresh clone, with its packages installed. */
function clone(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'taskward-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'])
  for (const file of String(list).split('\0'))
    if (file && existsSync(file)) cpSync(file, join(directory, file))
  symlinkSync(resolve('node_modules'), join(directory, 'node_modules'))
  return directory
}

class Dev {
  stdout = ''
  stderr = ''
  readonly child: ChildProcess
  readonly ended: Promise<number | null>

  constructor(t: Test, directory: string, variables: Record<string, string>) {
    // With a process group of its own, so that none of its children is left behind.
    const child = spawn(process.execPath, ['src/dev.ts'], {
      cwd: directory,
      detached: true,
      env: { PATH: process.env.PATH, HOST: '127.0.0.1', ...variables },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.on('data', (chunk) => (this.stdout += chunk))
    child.stderr.on('data', (chunk) => (this.stderr += chunk))
    this.child = child
    this.ended = once(child, 'close').then(([code]) => code)
    t.teardown(() => this.kill())
  }

  kill() {
    try {
      process.kill(-(this.child.pid ?? 0), 'SIGKILL')
    } catch {
      // none is left
    }
  }

  /** Waits until this was printed so many times. */
  async printed(pattern: RegExp, times = 1): Promise<RegExpExecArray> {
    for (let i = 0; i < 600; i++) {
      const found = [...this.stdout.matchAll(new RegExp(pattern, 'gm'))][times - 1]
      if (found) return found
      if (this.child.exitCode !== null) break
      await sleep(100)
    }
    throw new Error(`never printed: ${pattern}\n${this.stdout}\n${this.stderr}`)
  }

  async stop(): Promise<number | null> {
    this.child.kill('SIGTERM')
    return this.ended
  }
}

async function listen(t: Test) {
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return { server, port: (server.address() as AddressInfo).port }
}

async function freePort(t: Test): Promise<string> {
  const { server, port } = await listen(t)
  server.close()
  await once(server, 'close')
  return String(port)
}

async function fails(t: Test, dev: Dev, sentence: RegExp) {
  const late = setTimeout(() => dev.kill(), 30_000)
  t.equal(await dev.ended, 1)
  clearTimeout(late)
  t.match(dev.stderr, /^taskward: [^\n]+\n$/, 'one line')
  t.match(dev.stderr, sentence)
}

const bash = (command: string) => promisify(execFile)('bash', ['-c', command])
const secretOf = (file: string) => /^BETTER_AUTH_SECRET=(.*)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? ''

t.test('from a fresh clone to the second day', async (t) => {
  const directory = clone(t)
  const file = join(directory, '.env')
  const PORT = await freePort(t)
  const address = `http://localhost:${PORT}`

  const dev = new Dev(t, directory, { PORT })
  const [, curl = ''] = await dev.printed(/^(curl .+)$/)
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.match(secretOf(file), /^[\w-]{43}$/)
  t.notOk(dev.stdout.includes(secretOf(file)))
  t.equal(
    readFileSync(file, 'utf8').replace(secretOf(file), ''),
    readFileSync(join(directory, '.env.example'), 'utf8'),
    'the rest is as in the example',
  )

  const created = await bash(`${curl} -w '\\n%{http_code}'`)
  const [body = '', status] = created.stdout.split('\n')
  t.equal(status, '201')
  const task = JSON.parse(body) as Task
  t.match(task, { user_id: 'demo-user', title: 'My first task', completed: false })

  const [, swagger = ''] = await dev.printed(/^Swagger UI +(http\S+)$/)
  t.equal(swagger, `${address}/docs`)
  const page = await fetch(swagger)
  t.equal(page.status, 200)
  t.match(page.headers.get('content-type'), /^text\/html/)

  const [, token = ''] = await dev.printed(/^Token +(\S+)$/)
  const tasks = async () =>
    (await fetch(`${address}/todos`, { headers: { authorization: `Bearer ${token}` } })).json()
  t.same(await tasks(), [task])

  appendFileSync(join(directory, 'src', 'tasks.ts'), '\n// changed\n')
  await dev.printed(/Server listening at /, 2)
  t.same(await tasks(), [task], 'a restart keeps the data')
  t.equal([...dev.stdout.matchAll(/^curl /gm)].length, 1, 'the welcome is printed once')
  t.equal(await dev.stop(), 0)
  await t.rejects(fetch(`${address}/health`), 'the server has gone with it')

  const before = readFileSync(file, 'utf8')
  const again = new Dev(t, directory, { PORT })
  await again.printed(/^curl /)
  t.equal(readFileSync(file, 'utf8'), before)
  t.notMatch(again.stdout, /Made \.env/)
  t.same(await tasks(), [task], 'the token of yesterday finds the task of yesterday')
  t.equal(again.stderr, '')
  t.equal(await again.stop(), 0)
})

t.test('what it cannot start with', async (t) => {
  const directory = clone(t)
  const file = join(directory, '.env')

  await t.test('a taken port', async (t) => {
    const { port } = await listen(t)
    await fails(t, new Dev(t, directory, { PORT: String(port) }), new RegExp(`Port ${port} is taken`))
    const secret = secretOf(file)
    rmSync(file)
    await fails(t, new Dev(t, directory, { PORT: String(port), DATABASE_URL: 'pglite:memory' }), /is taken/)
    t.not(secretOf(file), secret, 'each .env has a secret of its own')
  })

  for (const [line, sentence] of [
    ['not a line', /\.env line 3 is not NAME=value/],
    ['FRONTEND_URL: https://app.example.com', /\.env line 3 is not NAME=value/],
    ['PORT=http', /PORT must be integer/],
    ['FRONTEND_URL=*', /FRONTEND_URL: "\*" /],
    ['DATABASE_URL=mysql://ada:hunter2hunter2@db/tasks', /DATABASE_URL: is neither/],
  ] as const) {
    await t.test(line, async (t) => {
      writeFileSync(file, `# mine\nBETTER_AUTH_SECRET=${SECRET}\n${line}\n`)
      const dev = new Dev(t, directory, {})
      await fails(t, dev, sentence)
      t.notOk(dev.stderr.includes('hunter2') || dev.stderr.includes(SECRET), 'tells no secret')
    })
  }
})
