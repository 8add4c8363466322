import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Answer,
  type Call,
  call,
  keepAlive,
  thousands,
  type Times,
  timesOf,
} from '../../faults/clients.ts'
import type { Postgres } from '../../faults/postgres.ts'
import type { Service } from '../../faults/service.ts'
import type { Scenario } from '../../faults/tools.ts'
import { seconds } from '../../faults/writing.ts'
import { connect } from '../../src/database/index.ts'
import { SharedScope } from '../../src/isolation/index.ts'
import { RefreshTokens } from '../../src/refresh-tokens.ts'

const SIZES = [1, 1_000, 1_000_000]
const KEYS = 100_000
const REPEATS = 9

export default {
  name: 'growth',
  what: `Users with ${SIZES.map(thousands).join(', ')} tasks, the last with ${thousands(KEYS)} idempotency keys: each alone; \`DELETE ?completed=true\` of as many; then export and erasure of the last while 10 others list 20 tasks 100 times a second`,
  goal: 'no read > 1 s, with a filter or sorted > 5 s; all done tasks are gone; p99 of others < 100 ms, none failed; memory < 1.3 ×; all is exported, nothing is left',
  async run(tools) {
    const { url, server, name } = await tools.database()
    const service = await tools.service({ DATABASE_URL: url })
    const users: { token: string; size: number }[] = []
    for (const size of SIZES) {
      const [user] = await tools.users(url, 1, size, `has${size}`)
      users.push({ token: user?.token ?? '', size })
    }
    const last = SIZES.at(-1) ?? 0
    await server.query(
      `insert into idempotency_keys (user_id, key, request, made)
       select 'has${last}-0', 'key ' || n, repeat('x', 43), n from generate_series(1, ${KEYS}) as n`,
      name,
    )
    const others = (await tools.users(url, 10, 20)).map(({ token }) => ({ path: '/todos?limit=20', token }))
    await server.query('vacuum analyze tasks', name)
    await server.query('vacuum analyze idempotency_keys', name)

    // Alone: each size in turn.
    const pages: [what: string, path: (size: number) => string, isChosen?: true][] = [
      ['stats', () => '/todos/stats'],
      ['count', () => '/todos?limit=1&count=true'],
      ['skip to the last', (size) => `/todos?limit=1&skip=${size - 1}`],
      ['cursor', () => '/todos?limit=1'],
      ['filter and count in vain', () => '/todos?limit=1&count=true&tag=none', true],
      ['search in vain', () => '/todos?limit=20&search=nowhere', true],
      ['sort by title', () => '/todos?limit=20&sort=title', true],
    ]
    await meanwhile(service, others, () => sleep(4000)) // warms up
    const figures: string[] = []
    let slowest = 0
    for (const [what, path, isChosen] of pages) {
      const medians: number[] = []
      let most = 0
      for (const { token, size } of users) {
        const answers: Answer[] = []
        for (let i = 0; i < REPEATS; i++) {
          answers.push(await call(service.url, { path: path(size), token }))
          most = Math.max(most, service.rss())
        }
        if (answers.some(({ status }) => status !== 200)) throw new Error(`${what}: not 200`)
        medians.push(answers.map(({ ms }) => ms).toSorted((a, b) => a - b)[REPEATS >> 1] ?? 0)
      }
      if (!isChosen) slowest = Math.max(slowest, ...medians) // those are 503 after 5 s
      figures.push(`${what} ${medians.map(milliseconds).join(' / ')} ms (${most.toFixed(0)} MB)`)
    }

    const cleared: string[] = []
    let mostCleared = 0
    for (const size of SIZES) {
      const [{ token } = { token: '' }] = await tools.users(url, 1, size, `clears${size}`)
      await server.query(`update tasks set completed = true where user_id = 'clears${size}-0'`, name)
      await server.query('vacuum analyze tasks', name)
      let how = ''
      const { most } = await meanwhile(service, [], async () => (how = await clear(service, token, size)))
      cleared.push(how)
      mostCleared = Math.max(mostCleared, most)
    }
    await server.query('vacuum analyze tasks', name)
    figures.push(`clear completed ${cleared.join(' / ')} (${mostCleared.toFixed(0)} MB)`)

    const exported: string[] = []
    const erased: string[] = []
    const most: string[] = []
    let memory = 1
    let whole = true
    let left = 0
    const before = await meanwhile(service, others, () => sleep(4000))
    const worst = { p99: 0, failed: 0 }
    for (const { token, size } of users) {
      const isLast = size === last
      let bytes = 0
      const exporting = await meanwhile(service, isLast ? others : [], async () => {
        bytes = await sizeOf(`${service.url}/me/export`, token)
      })
      const erasing = await meanwhile(service, isLast ? others : [], async () => {
        const answer = await call(service.url, { method: 'DELETE', path: '/me', token })
        if (answer.status !== 200) throw new Error(`the erasure of ${size} is ${answer.status}`)
      })
      whole &&= bytes > size * 100
      for (const table of ['tasks', 'idempotency_keys']) {
        const [row] = await server.query<{ n: string }>(
          `select count(*) as n from ${table} where user_id = 'has${size}-0'`,
          name,
        )
        left += Number(row?.n)
      }
      memory = Math.max(memory, exporting.growth, erasing.growth)
      exported.push(seconds(exporting.took))
      erased.push(seconds(erasing.took))
      most.push(Math.max(exporting.most, erasing.most).toFixed(0))
      if (!isLast) continue
      worst.p99 = Math.max(exporting.p99, erasing.p99)
      worst.failed = exporting.failed + erasing.failed
      figures.push(
        `export ${exported.join(' / ')} (${Math.round(bytes / 1e6)} MB)`,
        `erasure ${erased.join(' / ')}, ${left} rows left`,
        `p99 of others ${before.p99} → ${exporting.p99} ms during the export, ${erasing.p99} ms during the erasure (longest ${erasing.max} ms), ${worst.failed} failed`,
        `memory at most ${most.join(' / ')} MB`,
      )
    }
    figures.push(
      `${thousands(last)} expired refresh tokens removed in ${await sweep(url, server, name, last)}`,
    )
    return {
      figure: figures.join('; '),
      ok: slowest < 1000 && worst.p99 < 100 && worst.failed === 0 && memory < 1.3 && whole && left === 0,
    }
  },
} satisfies Scenario

const milliseconds = (ms: number) => (ms < 10 ? ms.toFixed(1) : ms.toFixed(0))

interface Meanwhile extends Times {
  took: number
  /** Resident memory in megabytes before, and the most. */
  rss: number
  most: number
  growth: number
}

/** The requests of others, 100 a second, for as long as something goes on. */
async function meanwhile(
  service: Service,
  calls: readonly Call[],
  act: () => Promise<unknown>,
): Promise<Meanwhile> {
  const agent = keepAlive()
  const answers: Promise<Answer>[] = []
  const rss = service.rss()
  let most = rss
  const start = performance.now()
  const end = new AbortController()
  const acted = act().finally(() => end.abort())
  for (let i = 0; !end.signal.aborted; i++) {
    const wait = start + i * 10 - performance.now()
    if (wait > 1) await sleep(wait)
    const next = calls[i % calls.length]
    if (next) answers.push(call(service.url, { ...next, agent }))
    if (i % 10 === 0) most = Math.max(most, service.rss())
  }
  await acted
  const took = performance.now() - start
  const times = timesOf(await Promise.all(answers))
  agent.destroy()
  return { ...times, took, rss, most, growth: most / rss }
}

/** Has the service's own code remove refresh tokens that have expired. Returns how long that takes. */
async function sweep(url: string, server: Postgres, name: string, count: number): Promise<string> {
  await server.query(
    "insert into accounts (id, email, name, password) values ('swept', 'swept', '', '')",
    name,
  )
  await server.query(
    `insert into refresh_tokens (hash, family, account_id, expires_at)
     select md5(n::text), md5(n::text)::uuid, 'swept', now() - n * interval '1 ms' from generate_series(1, ${count}) as n`,
    name,
  )
  const database = await connect({ url })
  const start = performance.now()
  const removed = await new RefreshTokens(new SharedScope(database), 1).sweep()
  const took = performance.now() - start
  await database.close()
  if (removed !== count) throw new Error(`${removed} refresh tokens were removed`)
  return seconds(took)
}

/** Deletes all done tasks of a user: at once, or by their ids if they are too many for that. Says how. */
async function clear({ url }: Service, token: string, size: number): Promise<string> {
  const done = '/todos?completed=true'
  const { status, ms, body } = await call(url, { method: 'DELETE', path: done, token })
  if (status === 200 && JSON.parse(body).count === size) return seconds(ms)
  if (status !== 503) throw new Error(`${done} is ${status} ${body}`)
  const start = performance.now()
  for (;;) {
    const { body } = await call(url, { path: `${done}&limit=1000`, token })
    const ids = (JSON.parse(body) as { id: number }[]).map(({ id }) => id)
    if (ids.length === 0)
      return `${status} after ${seconds(ms)}, then by ids ${seconds(performance.now() - start)}`
    const gone = await call(url, { method: 'DELETE', path: `/todos?ids=${ids.join()}`, token })
    if (gone.status !== 200) throw new Error(`the removal of ${ids.length} tasks is ${gone.status}`)
  }
}

/** Reads a whole answer, and keeps nothing of it. */
async function sizeOf(url: string, token: string): Promise<number> {
  const { body } = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
  let bytes = 0
  for await (const chunk of body ?? []) bytes += chunk.length
  return bytes
}
