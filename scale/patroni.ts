import { chownSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { seed } from '../bench/seed.ts'
import { queryAt, unprivileged } from '../faults/postgres.ts'
import { find, freePort, Running, until } from '../faults/processes.ts'
import type { Tools } from '../faults/tools.ts'

const NAME = 'tasks'
// The least that Patroni takes: a leader that is gone remains the leader for as long.
const TTL_SECONDS = 20

/** Two servers that Patroni looks after, with etcd. A commit is answered once both have it. */
export class Patroni {
  readonly name = NAME
  readonly #nodes: readonly Node[]

  private constructor(nodes: readonly Node[]) {
    this.#nodes = nodes
  }

  static async create(tools: Tools): Promise<Patroni> {
    const folder = tools.folder()
    const owner = unprivileged()
    if (owner.uid !== undefined && owner.gid !== undefined) chownSync(folder, owner.uid, owner.gid)
    const etcd = await startEtcd(tools, folder)
    const patroni = new Patroni([
      await Node.create('one', folder, etcd),
      await Node.create('two', folder, etcd),
    ])
    for (const node of patroni.#nodes) {
      node.start()
      tools.teardown(() => node.kill())
      if (node.name === 'one') await until('the first node leads', async () => patroni.leader())
    }
    await patroni.synchronized()
    const leader = await patroni.leader()
    await leader.query(`create database ${NAME}`)
    await seed(leader.url(NAME), { users: 0, tasks: 0 })
    return patroni
  }

  /** The address of both. */
  get url(): string {
    return `postgres://postgres@${this.#nodes.map(({ host }) => host).join()}/${NAME}?target_session_attrs=read-write`
  }

  /** The node that takes writes. */
  async leader(): Promise<Node> {
    for (const node of this.#nodes) {
      const [row] = await node
        .query<{ standby: boolean }>('select pg_is_in_recovery() as standby')
        .catch(() => [])
      if (row && !row.standby) return node
    }
    throw new Error('there is no leader')
  }

  /** Lets the two change places, as before maintenance. */
  async switchOver(): Promise<void> {
    const leader = await this.leader()
    const body = JSON.stringify({ leader: leader.name })
    const answer = await fetch(`http://${leader.api}/switchover`, { method: 'POST', body })
    if (!answer.ok) throw new Error(`switchover: ${await answer.text()}`)
  }

  /** Ends the leader and its server, and waits until the other one leads. */
  async failOver(): Promise<void> {
    const former = await this.leader()
    await former.kill()
    await until('the other one leads', () => this.leader(), 3 * TTL_SECONDS)
    former.start()
  }

  /** Waits until there are a leader and a standby that has all it has. */
  async synchronized(): Promise<void> {
    await until('the standby follows', async () => {
      const leader = await this.leader()
      const answer = await fetch(`http://${leader.api}/cluster`)
      const { members } = (await answer.json()) as { members: { role: string }[] }
      return members.some(({ role }) => role === 'sync_standby')
    })
    await sleep(1_000) // sessions read the setting on their own
  }

  async query<Row extends object>(sql: string, database?: string): Promise<Row[]> {
    return (await this.leader()).query<Row>(sql, database)
  }
}

async function startEtcd(tools: Tools, folder: string): Promise<string> {
  const [client, peer] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`]
  const options = {
    'data-dir': join(folder, 'etcd'),
    'listen-client-urls': `http://${client}`,
    'advertise-client-urls': `http://${client}`,
    'listen-peer-urls': `http://${peer}`,
    'initial-advertise-peer-urls': `http://${peer}`,
    'initial-cluster': `default=http://${peer}`,
  }
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
  const etcd = new Running(find('etcd'), args, { cwd: folder, ...unprivileged() })
  tools.teardown(() => etcd.kill())
  await until('etcd starts', async () => (await fetch(`http://${client}/health`)).ok)
  return client
}

/** A server with its Patroni. */
class Node {
  readonly name: string
  readonly host: string
  readonly api: string
  readonly #folder: string
  readonly #program = find('patroni')
  #running: Running | undefined

  private constructor(name: string, host: string, api: string, folder: string) {
    this.name = name
    this.host = host
    this.api = api
    this.#folder = folder
  }

  static async create(name: string, folder: string, etcd: string): Promise<Node> {
    const [host, api] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`]
    const node = new Node(name, host, api, folder)
    const config = {
      scope: 'taskward',
      name,
      restapi: { listen: api, connect_address: api },
      etcd3: { host: etcd },
      bootstrap: {
        dcs: {
          ttl: TTL_SECONDS,
          loop_wait: 1,
          retry_timeout: 3,
          synchronous_mode: true,
          postgresql: { use_pg_rewind: true, parameters: { max_connections: 200, wal_log_hints: 'on' } },
        },
        initdb: [{ encoding: 'UTF8' }, 'no-locale'],
        pg_hba: ['host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust'],
      },
      postgresql: {
        listen: host,
        connect_address: host,
        data_dir: node.#data,
        bin_dir: dirname(find('pg_rewind')),
        pgpass: join(folder, `${name}.pgpass`),
        authentication: { superuser: { username: 'postgres' }, replication: { username: 'postgres' } },
        parameters: { unix_socket_directories: '' },
      },
    }
    writeFileSync(node.#config, JSON.stringify(config))
    return node
  }

  get #config(): string {
    return join(this.#folder, `${this.name}.json`)
  }

  get #data(): string {
    return join(this.#folder, this.name)
  }

  start(): void {
    this.#running = new Running(this.#program, [this.#config], { cwd: this.#folder, ...unprivileged() })
  }

  /** Ends Patroni and PostgreSQL at once, without a farewell to anybody. */
  async kill(): Promise<void> {
    await this.#running?.kill()
    try {
      const [pid] = readFileSync(join(this.#data, 'postmaster.pid'), 'utf8').split('\n')
      process.kill(Number(pid), 'SIGQUIT')
    } catch {
      // it does not run
    }
  }

  url(database: string): string {
    return `postgres://postgres@${this.host}/${database}`
  }

  query<Row extends object>(sql: string, database = 'postgres'): Promise<Row[]> {
    return queryAt(this.url(database), sql)
  }
}
