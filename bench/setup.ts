import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { ENVIRONMENT, type Issuer, openIssuer } from './issuer.ts'
import { makeDatabase } from './seed.ts'

export interface Setup {
  /** The address of a new database, which is dropped at the end. */
  url: string
  issuer: Issuer
  /** The environment of both servers. */
  env: Record<string, string>
  /** The service's log. */
  logFile: string
  /** The machine and software that the figures were measured on. */
  machine: string
}

/** Sets up a benchmark on the PostgreSQL server at `address`, and cleans up after it. */
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
