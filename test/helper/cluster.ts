import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, globSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Test } from 'tap'
import { freePort } from './http.ts'

const FOLDERS = [...(process.env.PATH ?? '').split(delimiter), ...globSync('/usr/lib/postgresql/*/bin')]
const PROGRAMS = ['initdb', 'postgres', 'pg_basebackup']
const BIN = FOLDERS.find((folder) => PROGRAMS.every((name) => existsSync(join(folder, name))))

/** Whether PostgreSQL's programs are installed. */
export const canStartPostgres = BIN !== undefined

// PostgreSQL refuses to run as root: then as `nobody`.
const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}

/** A PostgreSQL of the test's own, to be broken; it ends with the test. */
export interface Server {
  url: string
  /** Starts it again as a standby: it takes no writes. */
  demote(): Promise<void>
  /** Ends it and all its sessions, as a power cut would. */
  stop(): Promise<void>
  /** Starts another that follows this one; `select pg_promote()` makes it a primary. */
  startStandby(): Promise<Server>
}

/** Starts a server with nothing in it. */
export function startPostgres(t: Test): Promise<Server> {
  return serve(t, (folder) => {
    const options = ['-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
    run('initdb', ['-D', folder, ...options], folder)
  })
}

/** @param fill puts a server's files into an empty folder */
async function serve(t: Test, fill: (folder: string) => void): Promise<Server> {
  const port = await freePort(t)
  const folder = mkdtempSync(join(tmpdir(), 'taskward-postgres-'))
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid)
  fill(folder)

  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  let server: ChildProcess | undefined
  const start = async () => {
    const settings = { port, listen_addresses: '127.0.0.1', unix_socket_directories: '', fsync: 'off' }
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    server = spawn(program('postgres'), ['-D', folder, ...options], { ...user, cwd: folder, stdio: 'ignore' })
    for (let attempt = 0; !(await answers(url)); attempt++) {
      if (attempt === 500) throw new Error('PostgreSQL does not start')
      await sleep(20)
    }
  }
  const stop = async () => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return
    server.kill('SIGQUIT')
    await once(server, 'exit')
  }
  t.teardown(async () => {
    await stop()
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  await start()
  return {
    url,
    stop,
    async demote() {
      await stop()
      writeFileSync(join(folder, 'standby.signal'), '')
      await start()
    },
    startStandby: () =>
      serve(t, (copy) =>
        run('pg_basebackup', ['-D', copy, '-d', url, '-R', '-c', 'fast', '--no-sync'], copy),
      ),
  }
}

const program = (name: string) => join(BIN as string, name)

function run(name: string, args: string[], cwd: string): void {
  const { status, stderr } = spawnSync(program(name), args, { ...user, cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${name}: ${stderr}`)
}

/** Whether a server takes logins: one that starts refuses them at first. */
async function answers(connectionString: string): Promise<boolean> {
  const client = new pg.Client({ connectionString })
  client.on('error', () => {})
  const isUp = await client.connect().then(
    () => true,
    () => false,
  )
  await client.end().catch(() => {})
  return isUp
}
