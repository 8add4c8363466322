import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { type Answer, call, keepAlive, thousands, timesOf } from '../../faults/clients.ts'
import { openHaproxy } from '../../faults/haproxy.ts'
import { freePort, Running, until } from '../../faults/processes.ts'
import { CLOCK, type Service } from '../../faults/service.ts'
import type { Scenario, Tools } from '../../faults/tools.ts'

const INSTANCES = 3
const LIMIT = 1_000
const REQUESTS = 20_000
const CLIENTS = 16
const LIMITED_CLIENTS = 10
// Each stays below the limit.
const USERS = 400

export default {
  name: 'instances',
  what: `${INSTANCES} instances with one Redis behind haproxy: migrate at once; one user's ${thousands(LIMIT + 100)} requests, one refresh token, one Idempotency-Key, sign-out, erasure and a change of the issuer's key at all of them; then a migration and all replaced by a release with it, under ${CLIENTS} clients`,
  goal: `one migrates; a limit of ${thousands(LIMIT)} is ${thousands(LIMIT)}; a token is good once, a key makes one row; a key of the issuer counts at all from its first token on, and at none once it is withdrawn; 0 of ${thousands(REQUESTS)} failed, 0 lost`,
  async run(tools) {
    const { url, name, server } = await tools.database({ empty: true })
    const migrations = await Promise.all(Array.from({ length: INSTANCES }, () => migrate(url)))
    const rows = await server.query('select name from kysely_migration', name)
    const redis = await tools.redis()
    const env = { DATABASE_URL: url, REDIS_URL: redis.url, RATE_LIMIT_MAX: String(LIMIT) }
    const ports: number[] = []
    for (let i = 0; i < INSTANCES; i++) ports.push(await freePort())
    const instances = await Promise.all(ports.map((port) => tools.service(env, { port })))
    const front = await openHaproxy(tools, ports)

    const limited = await limits(tools, front)
    const refreshed = await refreshes(instances)
    const once = await idempotency(tools, instances)
    const ended = await signsOut(instances)
    const erased = await erases(instances)
    const rotated = await rotates(tools, env)
    const rolled = await roll(tools, front, async () => {
      const release = nextRelease(tools)
      await sleep(2000)
      const code = await migrate(url, release)
      if (code !== 0) return code // a deploy ends there
      for (const [i, port] of ports.entries()) {
        await sleep(2000)
        await instances[i]?.terminate()
        instances[i] = await tools.service(env, { port, cwd: release })
      }
      await sleep(2000)
      return code
    })
    const [added] = await server.query<{ n: string }>(
      "select count(*) as n from information_schema.columns where table_name = 'tasks' and column_name = 'estimate'",
      name,
    )
    const there = await server.query<{ title: string }>('select title from tasks', name)
    const titles = new Set(there.map(({ title }) => title))
    const lost = rolled.titles.filter((title) => !titles.has(title)).length
    return {
      figure:
        `${INSTANCES} migrate at once: exit codes ${migrations.join(', ')}, ${rows.length} migrations; ` +
        `${limited.kinds}; one refresh token at all at once: ${refreshed}; one key at all at once: ${once}; ` +
        `signed out at one: ${ended}; erased at one: ${erased}; ` +
        `the issuer's old key / its new one: ${rotated}; migrated and replaced: ` +
        `**${rolled.failed} of ${thousands(rolled.count)} failed, ${lost} lost**, p99 ${rolled.p99} ms, longest ${rolled.max} ms`,
      ok:
        migrations.every((code) => code === 0) &&
        limited.count - limited.failed === LIMIT &&
        refreshed === '200, 401, 401, then 401 for its successor' &&
        once === '1 row, 1 id' &&
        ended === '401, 401, 401' &&
        erased === '401, 401, 401; 0 tasks' &&
        rotated === ROTATED &&
        rolled.migrated === 0 &&
        added?.n === '1' &&
        rolled.failed === 0 &&
        rolled.count >= REQUESTS &&
        lost === 0,
    }
  },
} satisfies Scenario

/** Runs `npm run migrate` of a release; returns its exit code. */
async function migrate(url: string, cwd?: string): Promise<number | null> {
  const env = { PATH: process.env.PATH, DATABASE_URL: url }
  return (await new Running(process.execPath, ['src/cli.ts', 'migrate'], { env, cwd }).ended).code
}

/** This release with one more migration. */
function nextRelease(tools: Tools): string {
  const folder = tools.folder()
  for (const part of ['src', 'plugins', 'routes', 'schemas', 'package.json'])
    cpSync(part, join(folder, part), { recursive: true })
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'))
  const migration = `import { type Kysely, sql } from 'kysely'
export async function up(db: Kysely<any>): Promise<void> {
  await sql\`set local lock_timeout = '5s'\`.execute(db)
  await sql\`alter table tasks add column estimate integer not null default 0\`.execute(db)
}
`
  writeFileSync(join(folder, 'src/migrations/9999_estimate.ts'), migration)
  const index = join(folder, 'src/migrations/index.ts')
  const text = readFileSync(index, 'utf8')
  const listed = text.replace(
    /(const migrations: Record<string, Migration> = \{[^}]*)\}/,
    "$1  '9999_estimate': await import('./9999_estimate.ts'),\n}",
  )
  if (listed === text) throw new Error('the list of migrations was not found')
  writeFileSync(index, listed)
  return folder
}

/** More requests of one user than are allowed, over all instances. */
async function limits(tools: Tools, front: string) {
  const token = await tools.token('limited')
  const agent = keepAlive()
  const answers: Answer[] = []
  const client = async () => {
    for (let i = 0; i < (LIMIT + 100) / LIMITED_CLIENTS; i++)
      answers.push(await call(front, { path: '/todos?limit=1', token, agent }))
  }
  await Promise.all(Array.from({ length: LIMITED_CLIENTS }, client))
  agent.destroy()
  return timesOf(answers)
}

interface Session {
  token: string
  refresh_token: string
}

const PASSWORD = 'correct horse battery staple'

async function signUp({ url }: Service): Promise<Session & { email: string }> {
  const email = `${randomUUID()}@example.com`
  const body = { email, password: PASSWORD, name: 'Ada' }
  const answer = await call(url, { method: 'POST', path: '/api/auth/signup', body })
  return { ...(JSON.parse(answer.body).data as Session), email }
}

const refresh = ({ url }: Service, { refresh_token }: Session) =>
  call(url, { method: 'POST', path: '/api/auth/refresh', body: { refresh_token } })

const statusesOf = (answers: Answer[]) =>
  answers
    .map(({ status }) => status)
    .toSorted((a, b) => a - b)
    .join(', ')

/** One refresh token at all instances at once: one gives the next, which then is revoked, as the token was stolen. */
async function refreshes(instances: Service[]): Promise<string> {
  const session = await signUp(instances[0] as Service)
  const answers = await Promise.all(instances.map((instance) => refresh(instance, session)))
  const good = answers.find(({ status }) => status === 200)
  const successor = JSON.parse(good?.body ?? '{"data":{}}').data as Session
  const after = await refresh(instances[1] as Service, successor)
  return `${statusesOf(answers)}, then ${after.status} for its successor`
}

/** One Idempotency-Key at all instances at once. */
async function idempotency(tools: Tools, instances: Service[]): Promise<string> {
  const token = await tools.token('once')
  const post = ({ url }: Service) =>
    call(url, {
      method: 'POST',
      path: '/todos',
      token,
      body: { title: 'once' },
      headers: { 'idempotency-key': 'one' },
    })
  const answers = await Promise.all([...instances, ...instances, ...instances].map(post))
  const ids = new Set(answers.map(({ status, body }) => (status === 201 ? JSON.parse(body).id : status)))
  const list = await call(instances[0]?.url ?? '', { path: '/todos', token })
  return `${JSON.parse(list.body).length} row, ${ids.size} id`
}

/** The refresh token at each instance after a sign-out at the first. */
async function signsOut(instances: Service[]): Promise<string> {
  const [first] = instances as [Service]
  const session = await signUp(first)
  await call(first.url, { method: 'POST', path: '/api/auth/signout', token: session.token })
  return statusesOf(await Promise.all(instances.map((instance) => refresh(instance, session))))
}

/** The sign-in at each instance after an erasure at the first, and what the token still finds at the last. */
async function erases(instances: Service[]): Promise<string> {
  const [first] = instances as [Service]
  const { email, token } = await signUp(first)
  await call(first.url, { method: 'POST', path: '/todos', token, body: { title: 'to be erased' } })
  const body = { password: PASSWORD }
  // Node.js sends no length with a DELETE by itself.
  const headers = { 'content-length': String(Buffer.byteLength(JSON.stringify(body))) }
  await call(first.url, { method: 'DELETE', path: '/me', token, body, headers })
  const answers = await Promise.all(
    instances.map(({ url }) =>
      call(url, { method: 'POST', path: '/api/auth/signin', body: { email, password: PASSWORD } }),
    ),
  )
  const list = await call(instances.at(-1)?.url ?? '', { path: '/todos', token })
  return `${statusesOf(answers)}; ${JSON.parse(list.body).length} tasks`
}

const ROTATED =
  'both published 200, 200, 200 / 200, 200, 200; the old one withdrawn 401, 401, 401 / 200, 200, 200'

/** Tokens of the issuer's old and new key at all instances, after it has published the new one, and withdrawn the old. */
async function rotates(tools: Tools, env: Record<string, string>): Promise<string> {
  const [old, fresh] = [await keyOf('old'), await keyOf('new')]
  let keys = [old.jwk]
  const server = createServer((_request, response) => response.end(JSON.stringify({ keys })))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  tools.teardown(() => server.close())
  const BETTER_AUTH_URL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const instances = await Promise.all(
    Array.from({ length: INSTANCES }, () => tools.service({ ...env, BETTER_AUTH_URL }, { args: CLOCK })),
  )
  const tokens = [await old.sign(BETTER_AUTH_URL), await fresh.sign(BETTER_AUTH_URL)]
  const seen = async () => {
    const rows = tokens.map(async (token) =>
      statusesOf(await Promise.all(instances.map(({ url }) => call(url, { path: '/todos', token })))),
    )
    return (await Promise.all(rows)).join(' / ')
  }
  await seen()
  keys = [old.jwk, fresh.jwk]
  for (const { child } of instances) child.kill('SIGURG') // keys are asked for at most every 30 seconds
  await sleep(500) // a busy machine is late to deliver it
  const both = await seen()
  keys = [fresh.jwk]
  for (const { child } of instances) child.kill('SIGWINCH') // and again after 8 minutes, beside the requests
  await until('the old key is refused', async () => (await seen()).startsWith('401, 401, 401'), 10).catch(
    () => {},
  )
  return `both published ${both}; the old one withdrawn ${await seen()}`
}

async function keyOf(kid: string) {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA')
  const sign = (url: string) =>
    new SignJWT({ email: 'rotated@example.com' })
      .setProtectedHeader({ alg: 'EdDSA', kid })
      .setSubject('rotated')
      .setIssuer(url)
      .setAudience(url)
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(privateKey)
  return { jwk: { ...(await exportJWK(publicKey)), kid, alg: 'EdDSA' }, sign }
}

/** Clients that create, list and toggle while something goes on, and until there were enough requests. */
async function roll(tools: Tools, front: string, act: () => Promise<number | null>) {
  const tokens = await Promise.all(Array.from({ length: USERS }, (_, i) => tools.token(`rolled-${i}`)))
  const agent = keepAlive()
  const answers: Answer[] = []
  const titles: string[] = []
  const end = new AbortController()
  const acted = act().finally(() => end.abort())
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    for (let i = client; !end.signal.aborted || answers.length < REQUESTS; i += CLIENTS) {
      const token = tokens[i % USERS]
      const title = randomUUID()
      const made = await call(front, { method: 'POST', path: '/todos', token, body: { title }, agent })
      if (made.status === 201) titles.push(title)
      const list = await call(front, { path: '/todos?limit=20', token, agent })
      const { id } = made.status === 201 ? (JSON.parse(made.body) as { id: number }) : { id: 0 }
      const toggled = await call(front, { method: 'PATCH', path: `/todos/${id}/toggle`, token, agent })
      answers.push(made, list, toggled)
    }
  })
  const migrated = await acted
  await Promise.all(clients)
  agent.destroy()
  return { ...timesOf(answers), titles, migrated }
}
