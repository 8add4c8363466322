import { spawnSync } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { find, freePort, Missing, Running, until } from './processes.ts'

const MAX_CONNECTIONS = 200

/** A PostgreSQL server of our own, which may be killed and frozen. */
export class Postgres {
  readonly #folder = mkdtempSync(join(tmpdir(), 'taskward-faults-'))
  readonly #port: number
  readonly #owner = unprivileged()
  readonly #program = find('postgres')
  #running: Running | undefined

  private constructor(port: number) {
    this.#port = port
  }

  static async create(): Promise<Postgres> {
    const initdb = find('initdb')
    const server = new Postgres(await freePort())
    const folder = server.#folder
    const { uid, gid } = server.#owner
    if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid)
    const made = spawnSync(
      initdb,
      ['-D', folder, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale'],
      {
        cwd: folder,
        encoding: 'utf8',
        ...server.#owner,
      },
    )
    if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`)
    await server.start()
    return server
  }

  url(database: string): string {
    return `postgres://postgres@127.0.0.1:${this.#port}/${database}`
  }

  async start(): Promise<void> {
    const settings = {
      listen_addresses: '127.0.0.1',
      port: this.#port,
      unix_socket_directories: '',
      max_connections: MAX_CONNECTIONS,
    }
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    await until('PostgreSQL starts', async () => {
      // What is left of a killed server may hold its memory for a moment.
      if (!this.#running?.isRunning)
        this.#running = new Running(this.#program, ['-D', this.#folder, ...args], {
          cwd: this.#folder,
          ...this.#owner,
        })
      await this.query('select 1')
      return true
    })
  }

  /** Kills the server and all its backends, as a power cut would. */
  async kill(): Promise<void> {
    await this.#running?.kill()
  }

  freeze(): void {
    this.#running?.signalAll('SIGSTOP')
  }

  thaw(): void {
    this.#running?.signalAll('SIGCONT')
  }

  /** Runs one statement on a connection of its own. */
  async query<Row extends object>(
    sql: string,
    database = 'postgres',
    values: unknown[] = [],
  ): Promise<Row[]> {
    const client = await this.connect(database)
    try {
      return (await client.query(sql, values)).rows
    } finally {
      await client.end()
    }
  }

  async connect(database: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.url(database), connectionTimeoutMillis: 5000 })
    client.on('error', () => {})
    await client.connect()
    return client
  }

  async remove(): Promise<void> {
    this.thaw()
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** PostgreSQL refuses to run as root. */
function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {}
  for (const user of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((option) =>
      spawnSync('id', [option, user], { encoding: 'utf8' }).stdout.trim(),
    )
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new Missing('PostgreSQL refuses to run as root, and there is no user postgres or nobody')
}
