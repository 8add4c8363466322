import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { ENVIRONMENT, type Issuer, openIssuer } from './issuer.ts'
import { makeDatabase } from './seed.ts'

export interface Setup {
  /** Of a new database, which is dropped at the end. */
  url: string
  issuer: Issuer
  /** What both servers are started with. */
  env: Record<string, string>
  /** Where the service logs to. */
  logFile: string
  /** What the figures were taken on. */
  machine: string
}

/** Makes what a benchmark needs on the PostgreSQL server of `address`, and takes it away when it is done. */
export async function withSetup(address: string, benchmark: (setup: Setup) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'taskward-bench-'))
  const database = await makeDatabase(address)
  const issuer = await openIssuer()
  const { url } = database
  try {
    await benchmark({
      url,
      issuer,
      env: { ...ENVIRONMENT, BETTER_AUTH_URL: issuer.url, DATABASE_URL: url },
      logFile: join(folder, 'requests.log'),
      machine:
        `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpus()[0]?.model}, ` +
        `${Math.round(totalmem() / 2 ** 30)} GiB, Node.js ${process.version}, ${database.version}. ` +
        'Load generator, server and database share the machine.',
    })
  } finally {
    issuer.close()
    await database.drop()
    rmSync(folder, { recursive: true })
  }
}

export const print = (line: string): void => void process.stdout.write(`${line}\n`)

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number
