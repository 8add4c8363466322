import { once } from 'node:events'
import { type AddressInfo, connect as dial, createServer, type Socket } from 'node:net'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import pg from 'pg'
import { connect } from '../../src/database/index.ts'
import { type Given, isolate, type ScopedStatement, UserScope } from '../../src/isolation/index.ts'
import type { OwnedTables } from '../../src/tables.ts'

// Batches of many users at once, over a wire that breaks messages apart and loses connections. Each answer is checked
// against the one who asked.

const { statement, claimOwners } = isolate<string, Pick<OwnedTables, 'tasks'>, Record<never, never>>({
  owner: { user_id: (id) => id },
  settings: 'app',
  roles: { owned: 'taskward_user', shared: 'taskward_service' },
  owned: { tasks: { key: 'id' } },
  shared: {},
  functions: ['current_setting', 'pg_sleep', 'repeat', 'set_config'],
})
const ownerOf = claimOwners()

const USERS = 50
const TASKS = 20
const AT_ONCE = 60

type Row = Record<string, unknown>

const who = statement(
  (_, given: Given<{ asked: string }>) =>
    sql<Row>`select current_setting('app.user_id') as who, ${given.asked}::text as asked, current_user::text as role`,
)
const list = statement((mine) =>
  mine
    .selectFrom('tasks')
    .select(['id', 'user_id', 'title', 'description', 'completed', 'created_at'])
    .orderBy('id', 'desc')
    .limit(50),
)
const insert = statement((mine, { title }: Given<{ title: string }>) =>
  mine.insertInto('tasks', { title }).returning(['id', 'user_id', 'title']),
)
const none = statement((mine) =>
  mine.selectFrom('tasks').select(['title', 'id', 'user_id']).where('id', '=', -1),
)
const star = statement((mine) => mine.selectFrom('tasks').selectAll().orderBy('id').limit(3))
const large = statement(
  (_, given: Given<{ text: string; times: number }>) =>
    sql<Row>`select ${given.text}::text as who, repeat(${given.text}::text, ${given.times}::int) as big`,
)
const many = statement(
  (_, given: Given<{ asked: string; rows: number }>) =>
    sql<Row>`select ${given.asked}::text as who, g as i from generate_series(1, ${given.rows}::int) as g`,
)
const divide = statement((_, given: Given<{ by: number }>) => sql<Row>`select 1 / ${given.by}::int as x`)
const halfway = statement(
  (_, given: Given<{ asked: string }>) =>
    sql<Row>`select ${given.asked}::text as who, 1 / (50 - g) as i from generate_series(1, 60) as g`,
)
const slow = statement(
  (_, given: Given<{ asked: string }>) => sql<Row>`select ${given.asked}::text as who, pg_sleep(3)`,
)
const elsewhere = statement(
  (_, given: Given<{ zone: string }>) => sql<Row>`select set_config('TimeZone', ${given.zone}, true) as zone`,
)

interface Question {
  statements: ScopedStatement[]
  /** Whether these rows answer it, for this user. */
  isAnswer(rows: Row[][]): boolean
  /** Which of the statements makes a task. */
  makes?: number
}

const QUESTIONS: ((scope: UserScope, user: string, n: number) => Question)[] = [
  (scope, user, n) => ({
    statements: [scope.bind(who, { asked: `${user}/${n}` })],
    isAnswer: ([rows]) =>
      rows?.length === 1 &&
      rows[0]?.who === user &&
      rows[0]?.asked === `${user}/${n}` &&
      rows[0]?.role === 'taskward_user',
  }),
  (scope, user) => ({
    statements: [scope.bind(list, {})],
    isAnswer: ([rows]) => rows !== undefined && rows.length >= 1 && rows.every((row) => isTaskOf(user, row)),
  }),
  (scope, user) => ({
    statements: [scope.bind(insert, { title: user })],
    isAnswer: ([rows]) => rows?.length === 1 && rows[0]?.user_id === user && rows[0]?.title === user,
    makes: 0,
  }),
  (scope) => ({ statements: [scope.bind(none, {})], isAnswer: ([rows]) => rows?.length === 0 }),
  (scope, user) => ({
    statements: [scope.bind(star, {})],
    isAnswer: ([rows]) => rows !== undefined && rows.length >= 1 && rows.every((row) => isTaskOf(user, row)),
  }),
  (scope, user, n) => ({
    statements: [scope.bind(large, { text: `${user}.`, times: 20_000 + (n % 50_000) })],
    isAnswer: ([rows]) =>
      rows?.[0]?.who === `${user}.` && rows[0].big === `${user}.`.repeat(20_000 + (n % 50_000)),
  }),
  (scope, user, n) => ({
    statements: [scope.bind(many, { asked: user, rows: n % 700 })],
    isAnswer: ([rows]) =>
      rows?.length === n % 700 && rows.every((row, i) => row.who === user && row.i === i + 1),
  }),
  (scope, user, n) => ({
    statements: [
      scope.bind(who, { asked: 'first' }),
      scope.bind(none, {}),
      scope.bind(insert, { title: user }),
      scope.bind(who, { asked: String(n) }),
    ],
    isAnswer: ([first, nothing, made, last]) =>
      first?.[0]?.who === user &&
      first[0].asked === 'first' &&
      nothing?.length === 0 &&
      made?.[0]?.user_id === user &&
      last?.[0]?.who === user &&
      last[0].asked === String(n),
    makes: 2,
  }),
]

const FAULTS: ((scope: UserScope, user: string) => ScopedStatement[])[] = [
  (scope) => [scope.bind(divide, { by: 0 })],
  (scope, user) => [scope.bind(insert, { title: user }), scope.bind(divide, { by: 0 }), scope.bind(list, {})],
  (scope, user) => [scope.bind(halfway, { asked: user })],
  (scope) => [scope.bind(who, { asked: 'a\0b' })],
  (scope) => [scope.bind(elsewhere, { zone: 'Europe/Paris' })],
]

const isTaskOf = (user: string, { user_id, title, id, completed, created_at }: Row) =>
  user_id === user &&
  (title === user || String(title).startsWith(`${user} `)) &&
  typeof id === 'number' &&
  typeof completed === 'boolean' &&
  String(created_at).endsWith('Z')

export interface WireOptions {
  /** What the batches go to: PostgreSQL, or a pooler in front of it. */
  url: string
  /** The same database without a pooler, for the one who breaks things. None: nothing is broken. */
  admin?: string
  prepare: boolean
  /** Whether messages arrive in pieces. */
  fragments: boolean
  batches: number
  seed: number
}

export interface WireResult {
  batches: number
  answered: number
  /** Answers that were not the asker's. None is the promise. */
  misdelivered: string[]
  uncaught: string[]
  hanging: number
  failures: Record<string, number>
  /** Answers that were not delivered, since they could not be shown to be the asker's. */
  refused: number
  /** Backends that were ended. */
  killed: number
  /** Of 20 batches when all is quiet again. */
  recovered: number
  /** Tasks that were stored for another user. */
  foreignTasks: number
  /** Tasks that were made, as was answered, and are not there. */
  lostTasks: number
}

/** Runs batches of 50 users over a bad wire, while backends are ended and the table is altered. */
export async function fuzzWire(options: WireOptions): Promise<WireResult> {
  const random = generator(options.seed)
  const pick = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)] as T
  const result: WireResult = {
    batches: 0,
    answered: 0,
    misdelivered: [],
    uncaught: [],
    hanging: 0,
    failures: {},
    refused: 0,
    killed: 0,
    recovered: 0,
    foreignTasks: 0,
    lostTasks: 0,
  }
  const made: { user_id: string; id: unknown }[] = []
  const onUncaught = (error: unknown) => result.uncaught.push(String(error))
  process.on('uncaughtException', onUncaught)
  process.on('unhandledRejection', onUncaught)

  const wire = options.fragments ? await fragmentingProxy(options.url, random) : undefined
  const database = await connect({
    url: wire?.url ?? options.url,
    poolMax: 4,
    statementTimeout: 400,
    prepare: options.prepare,
    applicationName: 'fuzzed',
  })
  const scopes = Array.from(
    { length: USERS },
    (_, i) => [`u${i}`, new UserScope(database, ownerOf(`u${i}`))] as const,
  )
  const tally = (error: Error & { code?: string }) => {
    const key = `${error.code ?? ''} ${error.message}`.replace(/u\d+|".*?"/g, '…').slice(0, 80)
    result.failures[key] = (result.failures[key] ?? 0) + 1
    if (error.message === 'hangs') result.hanging += 1
    if ([error, error.cause as Error].some((one) => one?.name === 'ForeignAnswerError')) result.refused += 1
  }

  const quiet = options.admin ? await connect({ url: options.admin }) : database
  try {
    await attack()
  } finally {
    wire?.close()
    await database.close()
    if (quiet !== database) await quiet.close()
    process.off('uncaughtException', onUncaught)
    process.off('unhandledRejection', onUncaught)
  }
  return result

  async function attack(): Promise<void> {
    // Each user has tasks before anything breaks.
    await quiet.asLogin((db) =>
      sql`insert into tasks (user_id, title) select 'u' || u, 'u' || u || ' t' || i from generate_series(0, ${USERS - 1}::int) u, generate_series(1, ${TASKS}::int) i`.execute(
        db,
      ),
    )

    let done = false
    const breaking = options.admin ? breakThings(options.admin, pick, () => done) : Promise.resolve(0)
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (result.batches < options.batches) await ask().catch(tally)
      }),
    )
    done = true
    result.killed = await breaking
    await sleep(300)
    for (const [user, scope] of scopes.slice(0, 20)) {
      const rows = (await scope.all(who, { asked: user }).catch(() => [])) as Row[]
      if (rows[0]?.who === user) result.recovered += 1
    }
    const { rows } = await quiet.asLogin((db) =>
      sql<{
        n: number
      }>`select count(*)::int as n from tasks where title <> user_id and title not like user_id || ' %'`.execute(
        db,
      ),
    )
    result.foreignTasks = rows[0]?.n ?? -1
    const kept = await quiet.asLogin((db) =>
      sql<{ n: number }>`
        select count(*)::int as n from tasks
        join jsonb_to_recordset(${JSON.stringify(made)}::jsonb) as made(user_id text, id bigint) using (user_id, id)`.execute(
        db,
      ),
    )
    result.lostTasks = made.length - (kept.rows[0]?.n ?? 0)
  }

  async function ask(): Promise<void> {
    const [user, scope] = pick(scopes)
    const n = result.batches++
    const dice = random()
    if (dice < 0.03) return void (await within(database.run(pick(FAULTS)(scope, user))))
    if (dice < 0.033) return void (await within(database.run([scope.bind(slow, { asked: user })])))
    const { statements, isAnswer, makes } = pick(QUESTIONS)(scope, user, n)
    const rows = (await within(database.run(statements))) as Row[][]
    if (makes !== undefined) made.push({ user_id: user, id: rows[makes]?.[0]?.id })
    if (isAnswer(rows)) result.answered += 1
    else result.misdelivered.push(`${user}: ${JSON.stringify(rows).slice(0, 300)}`)
  }
}

/** A pseudo-random sequence (xorshift), so that a run can be repeated as far as the timing allows. */
function generator(seed: number): () => number {
  let state = BigInt(seed) * 7919n + 13n
  const mask = 0xffff_ffff_ffff_ffffn
  return () => {
    state ^= (state << 13n) & mask
    state ^= state >> 7n
    state ^= (state << 17n) & mask
    return Number(state & 0xffff_ffffn) / 2 ** 32
  }
}

async function within<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>(
    (_, reject) => (timer = setTimeout(() => reject(new Error('hangs')), 30_000)),
  )
  return Promise.race([answer, late]).finally(() => clearTimeout(timer))
}

const CHANGES = [
  'alter table tasks add column if not exists extra int',
  'alter table tasks drop column if exists extra',
  'create index if not exists by_title on tasks (title)',
  'drop index if exists by_title',
  'analyze tasks',
]

/** Ends backends, cancels statements and alters the table until it is told to stop. Returns how many backends it ended. */
async function breakThings(
  url: string,
  pick: <T>(items: readonly T[]) => T,
  isDone: () => boolean,
): Promise<number> {
  const client = new pg.Client({ connectionString: url, statement_timeout: 2000 })
  client.on('error', () => {})
  await client.connect()
  let killed = 0
  while (!isDone()) {
    await sleep(250)
    const others =
      'from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() order by random() limit 1'
    killed += (await client.query(`select pg_terminate_backend(pid) ${others}`)).rowCount ?? 0
    await client.query(`select pg_cancel_backend(pid) ${others}`)
    await client.query(pick(CHANGES)).catch(() => {})
  }
  await client.end()
  return killed
}

/** What networks do to messages: they arrive whole, late, byte by byte, in segments, or not at all. */
async function fragmentingProxy(url: string, random: () => number) {
  const { hostname, port } = new URL(url)
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = dial(Number(port || 5432), hostname)
    pump(client, upstream, false)
    pump(upstream, client, true)
  })

  function pump(from: Socket, to: Socket, down: boolean): void {
    sockets.add(from)
    from.setNoDelay(true)
    const size = [Infinity, Infinity, 1448, 300, 1][Math.floor(random() * 5)] as number
    const delay = random() < 0.2
    let sent: Promise<unknown> = Promise.resolve()
    from.on('data', (chunk: Buffer) => {
      from.pause()
      sent = sent
        .then(async () => {
          if (delay) await sleep(random() * 8)
          for (let i = 0; i < chunk.length;) {
            const n =
              size === 1 && chunk.length > 3000 ? 300 : size === 300 ? 1 + Math.floor(random() * 300) : size
            to.write(chunk.subarray(i, i + n))
            i += n
            if (size === 1448) await sleep(1)
            else if (random() < 0.05) await turn()
          }
          if (down && random() < 0.0006) for (const socket of [from, to]) socket.destroy()
          from.resume()
        })
        .catch(() => {})
    })
    from.on('end', () => sent.then(() => to.end()))
    from.on('error', () => to.destroy())
    from.on('close', () => void sent.then(() => to.destroy()))
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = new URL(url)
  address.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: address.href,
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
