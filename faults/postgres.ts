import { spawnSync } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { find, freePort, Missing, Running, until } from './processes.ts'

const MAX_CONNECTIONS = 200

/** Settings of a server, by name. */
export type ServerSettings = Readonly<Record<string, string | number>>

/** A PostgreSQL server of our own, which may be killed and frozen. */
export class Postgres {
  readonly #folder = mkdtempSync(join(tmpdir(), 'taskward-faults-'))
  readonly port: number
  readonly #settings: ServerSettings
  readonly #owner = unprivileged()
  readonly #program = find('postgres')
  #running: Running | undefined

  private constructor(port: number, settings: ServerSettings = {}) {
    this.port = port
    this.#settings = settings
  }

  /** @param settings beside those that every server here has */
  static async create(settings: ServerSettings = {}): Promise<Postgres> {
    const initdb = find('initdb')
    const server = new Postgres(await freePort(), settings)
    const folder = server.#folder
    server.#own()
    const made = spawnSync(
      initdb,
      ['-D', folder, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8'],
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

  /** A standby of another server. */
  static async following(primary: Postgres): Promise<Postgres> {
    const server = new Postgres(await freePort())
    await server.follow(primary)
    return server
  }

  /** Becomes a standby of another server, whatever it was before. */
  async follow(primary: Postgres): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 })
    mkdirSync(this.#folder, { mode: 0o700 })
    this.#own()
    const args = ['-D', this.#folder, '-d', primary.url('postgres'), '-R', '-c', 'fast']
    const copy = new Running(find('pg_basebackup'), args, { cwd: this.#folder, ...this.#owner })
    if ((await copy.ended).code !== 0) throw new Error('pg_basebackup failed')
    await this.start()
  }

  get host(): string {
    return `127.0.0.1:${this.port}`
  }

  url(database: string): string {
    return `postgres://postgres@${this.host}/${database}`
  }

  #own(): void {
    const { uid, gid } = this.#owner
    if (uid !== undefined && gid !== undefined) chownSync(this.#folder, uid, gid)
  }

  async start(): Promise<void> {
    const settings = {
      listen_addresses: '127.0.0.1',
      port: this.port,
      unix_socket_directories: '',
      max_connections: MAX_CONNECTIONS,
      ...this.#settings,
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

  /** Stops it as an administrator does: what its standbys lack is sent to them first. */
  async stop(): Promise<void> {
    this.#running?.child.kill('SIGINT')
    await this.#running?.ended
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
  query<Row extends object>(sql: string, database = 'postgres', values: unknown[] = []): Promise<Row[]> {
    return queryAt(this.url(database), sql, values)
  }

  connect(database: string): Promise<pg.Client> {
    return connectTo(this.url(database))
  }

  async remove(): Promise<void> {
    this.thaw()
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function connectTo(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Runs one statement on a connection of its own. */
export async function queryAt<Row extends object>(
  url: string,
  sql: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const client = await connectTo(url)
  try {
    return (await client.query(sql, values)).rows
  } finally {
    await client.end()
  }
}

/** PostgreSQL refuses to run as root. */
export function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {}
  for (const user of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((option) =>
      spawnSync('id', [option, user], { encoding: 'utf8' }).stdout.trim(),
    )
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new Missing('PostgreSQL refuses to run as root, and there is no user postgres or nobody')
}
