import { delimiter } from 'node:path'
import { call, thousands } from '../../faults/clients.ts'
import { Missing, Running } from '../../faults/processes.ts'
import type { Scenario, Tools } from '../../faults/tools.ts'
import { compared } from '../../faults/writing.ts'
import { pgBouncerVersion, startPgBouncer } from '../../test/helper/pgbouncer.ts'
import { pgPoolVersion, startPgPool } from '../../test/helper/pgpool.ts'
import { fuzzWire } from '../../test/isolation/wire.ts'

// PGBOUNCER=/path:/path names others than the one that is installed.
const PROGRAMS = ['pgbouncer', ...(process.env.PGBOUNCER?.split(delimiter) ?? [])]
const BATCHES = 20_000
const PREPARED = 100

/** Whether a version of PgBouncer carries prepared statements. */
function carriesPrepared(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 1 || minor >= 21
}

const installed = PROGRAMS.flatMap((program) => {
  const version = pgBouncerVersion(program)
  return version === undefined ? [] : [{ program, version }]
})

/** Sends batches of many users through poolers, while connections break on both sides. */
async function fuzzed(
  tools: Tools,
  poolers: readonly { program: string; version: string }[],
  prepare: boolean,
): Promise<{ figure: string; ok: boolean }> {
  const figures: string[] = []
  let ok = true
  for (const { program, version } of poolers) {
    const { url: admin } = await tools.database()
    const url = await startPgBouncer(tools, admin, { program, prepared: prepare ? PREPARED : 0 })
    const seed = 1 + Math.floor(Math.random() * 1_000_000)
    const found = await fuzzWire({ url, admin, prepare, fragments: true, batches: BATCHES, seed })
    const { misdelivered, uncaught, hanging, foreignTasks, lostTasks } = found
    figures.push(
      `${version}: ${thousands(found.batches)} batches, ${thousands(found.answered)} answered, ` +
        `${thousands(found.killed)} backends ended, **${misdelivered.length} misdelivered**, ` +
        `${found.refused} foreign answers refused, ${uncaught.length} uncaught, ${hanging} hang, ` +
        `tasks: ${foreignTasks} of others, ${lostTasks} lost`,
    )
    ok &&= [misdelivered.length, uncaught.length, hanging, foreignTasks, lostTasks].every((n) => n === 0)
    ok &&= found.recovered === 20
  }
  return { figure: figures.join('; '), ok }
}

const goal = '0 answers to somebody else, 0 tasks of others or lost, nothing uncaught, nothing hangs'
const disturbed = 'messages arrive in pieces, backends are ended, the table is altered'

export default [
  {
    name: 'pgbouncer',
    what: `PgBouncer in transaction mode, \`DATABASE_PREPARE=off\`: ${thousands(BATCHES)} batches of 50 users, 60 at once; ${disturbed}`,
    goal,
    async run(tools) {
      const poolers = installed.filter(({ version }) => !carriesPrepared(version))
      if (poolers.length === 0) throw new Missing('PgBouncer before 1.21 is not installed')
      return fuzzed(tools, poolers, false)
    },
  },
  {
    name: 'pgbouncer-prepared',
    what: `The same with prepared statements, \`max_prepared_statements = ${PREPARED}\``,
    goal,
    async run(tools) {
      const poolers = installed.filter(({ version }) => carriesPrepared(version))
      if (poolers.length === 0)
        throw new Missing('PgBouncer 1.21 or newer is not installed: PGBOUNCER=/path names one')
      return fuzzed(tools, poolers, true)
    },
  },
  {
    name: 'pgpool',
    what: 'pgpool-II, which runs the settings and the statement in different transactions',
    goal: '/ready is 503 and no request is answered, with and without prepared statements',
    async run(tools) {
      const version = pgPoolVersion()
      if (!version) throw new Missing('pgpool-II is not installed')
      const { url } = await tools.database()
      const pooled = await startPgPool(tools, url)
      const token = await tools.token('ada')
      const seen: string[] = []
      let ok = true
      for (const DATABASE_PREPARE of ['on', 'off']) {
        const service = await tools.service({ DATABASE_URL: pooled, DATABASE_PREPARE })
        const ready = await call(service.url, { path: '/ready' })
        const list = await call(service.url, { path: '/todos', token })
        seen.push(`prepare ${DATABASE_PREPARE}: /ready ${ready.status}, a list ${list.status}`)
        ok &&= ready.status === 503 && list.status === 503
        await service.terminate()
      }
      return { figure: `${version}: ${seen.join('; ')}`, ok }
    },
  },
  {
    name: 'pooled-migrations',
    what: 'The service behind PgBouncer with a login that owns nothing, migrations over `DATABASE_OWNER_URL`, directly: at first, and 5 times under 32 writers',
    goal: 'the first migrates, the others find nothing to do; /ready is 200; 0 lost, 0 doubled, nothing but 201',
    async run(tools) {
      const [pooler] = installed
      if (!pooler) throw new Missing('PgBouncer is not installed')
      const { server } = await tools.database()
      const name = `pooled_${process.hrtime.bigint()}`
      await server.query(`create database ${name}`)
      await server.query(`create role ${name} login`)
      tools.teardown(async () => {
        await server.query(`drop database ${name} with (force)`)
        await server.query(`drop role ${name}`)
      })
      const DATABASE_OWNER_URL = server.url(name)
      const login = DATABASE_OWNER_URL.replace('//postgres@', `//${name}@`)
      const env = {
        DATABASE_URL: await startPgBouncer(tools, login, { program: pooler.program }),
        DATABASE_OWNER_URL,
        DATABASE_PREPARE: 'off',
      }
      const migrate = async (): Promise<number | null> => {
        const args = ['src/cli.ts', 'migrate']
        return (await new Running(process.execPath, args, { env: { PATH: process.env.PATH, ...env } }).ended)
          .code
      }
      const codes = [await migrate()]
      const service = await tools.service(env)
      const ready = await call(service.url, { path: '/ready' })
      const disturb = async () => {
        for (let i = 0; i < 5; i++) codes.push(await migrate())
        return `PgBouncer ${pooler.version}, exit codes ${codes.join(' ')}, /ready ${ready.status}`
      }
      const { figure, ok } = await compared(tools, disturb, { to: service.url, name, server, allowed: [201] })
      return { figure, ok: ok && ready.status === 200 && codes.every((code) => code === 0) }
    },
  },
] satisfies Scenario[]
