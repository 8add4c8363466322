import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ENVIRONMENT, openIssuer } from './issuer.ts'
import { load, scenarios } from './load.ts'
import { callersOf, seed } from './seed.ts'
import { start, TASKWARD } from './servers.ts'
import { print } from './setup.ts'

/**
 * Without a PostgreSQL server: checks that the service answers under load on the embedded database, and compares
 * nothing.
 */
export async function smoke(): Promise<void> {
  print(
    'No BENCH_DATABASE_URL (postgres://…): a smoke test on the embedded database, without the hand-written server.',
  )
  const folder = mkdtempSync(join(tmpdir(), 'taskward-bench-'))
  const url = `pglite:${folder}`
  const owned = await seed(url, { users: 20, tasks: 100 })
  const issuer = await openIssuer()
  const server = await start(TASKWARD, { ...ENVIRONMENT, DATABASE_URL: url }, join(folder, 'requests.log'))
  const callers = await callersOf(owned, (sub) => issuer.sign('HS256', sub))
  for (const [name, make] of Object.entries(scenarios)) {
    const { rate, p99 } = await load(server.url, make, callers, { seconds: 4 })
    print(`${name}: ${rate.toFixed(0)} requests/s, p99 ${p99.toFixed(0)} ms, every answer 2xx`)
  }
  await server.stop()
  issuer.close()
  rmSync(folder, { recursive: true })
}
