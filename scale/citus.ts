import { globSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { Postgres, type ServerSettings } from '../faults/postgres.ts'
import { find, Missing } from '../faults/processes.ts'

// What Citus needs: two-phase commits for changes on several workers, and logical replication to move shards.
const SETTINGS = {
  shared_preload_libraries: 'citus',
  max_prepared_transactions: 200,
  wal_level: 'logical',
  max_wal_senders: 20,
  max_replication_slots: 20,
  max_worker_processes: 32,
  // All on one machine: without it, servers call each other over TLS.
  'citus.node_conninfo': 'sslmode=disable',
}

/** @throws Missing where the PostgreSQL that would be started has no Citus */
export function requireCitus(): void {
  const home = dirname(dirname(realpathSync(find('postgres'))))
  // As PostgreSQL installs itself, and as Debian installs it.
  const folders = [join(home, 'share'), home.replace('/lib/', '/share/')]
  const files = folders.flatMap((folder) => globSync(join(folder, '{,postgresql/}extension/citus.control')))
  if (files.length === 0) throw new Missing('Citus is not installed in the PostgreSQL of this machine')
}

/** A coordinator and its workers, all on this machine. */
export class CitusCluster {
  readonly coordinator: Postgres
  readonly workers: Postgres[]
  readonly #settings: ServerSettings

  private constructor([coordinator, ...workers]: Postgres[], settings: ServerSettings) {
    this.coordinator = coordinator as Postgres
    this.workers = workers
    this.#settings = settings
  }

  /**
   * @param settings of every server, beside what Citus needs
   * @throws Missing where it is not installed
   */
  static async start(workers: number, settings: ServerSettings = {}): Promise<CitusCluster> {
    requireCitus()
    const all = { ...SETTINGS, ...settings }
    const servers: Postgres[] = []
    for (let i = 0; i <= workers; i++) servers.push(await Postgres.create(all))
    return new CitusCluster(servers, all)
  }

  /** Addresses of a database on all servers, the coordinator's first. */
  urls(database = 'postgres'): string[] {
    return [this.coordinator, ...this.workers].map((server) => server.url(database))
  }

  /** Starts one more worker, and makes it known to a database. No shards are moved to it yet. */
  async addWorker(database: string): Promise<Postgres> {
    const worker = await Postgres.create(this.#settings)
    this.workers.push(worker)
    await makeEmpty(worker.url('postgres'), database)
    await this.coordinator.query(`select citus_add_node('127.0.0.1', ${worker.port})`, database)
    return worker
  }

  async remove(): Promise<void> {
    for (const server of [...this.workers, this.coordinator]) await server.remove()
  }
}

/**
 * Creates a database on all servers of a cluster, and joins them.
 * @param servers addresses that may create databases, the coordinator's first
 */
export async function createDistributed(servers: readonly string[], database: string): Promise<void> {
  for (const server of servers) await makeEmpty(server, database)
  const [coordinator, ...workers] = servers.map((server) => new URL(server))
  await on(at(String(coordinator), database), [
    `select citus_set_coordinator_host('${coordinator?.hostname}', ${coordinator?.port})`,
    ...workers.map(({ hostname, port }) => `select citus_add_node('${hostname}', ${port})`),
  ])
}

/** Citus would create the database on the workers itself, but not in a form that all its versions share. */
async function makeEmpty(server: string, database: string): Promise<void> {
  await on(server, ['set citus.enable_create_database_propagation = off', `create database ${database}`])
  await on(at(server, database), ['create extension citus'])
}

/** Drops a database of createDistributed(). */
export async function dropDistributed(servers: readonly string[], database: string): Promise<void> {
  for (const server of servers) await on(server, [`drop database if exists ${database} with (force)`])
}

function at(server: string, database: string): string {
  const url = new URL(server)
  url.pathname = database
  return url.href
}

async function on(connectionString: string, statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString })
  client.on('error', () => {})
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}
