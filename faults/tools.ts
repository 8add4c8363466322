import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ENVIRONMENT, type Issuer, openIssuer } from '../bench/issuer.ts'
import { seed } from '../bench/seed.ts'
import { openProxy } from '../test/helper/proxy.ts'
import { Postgres } from './postgres.ts'
import { find, freePort, Running, until } from './processes.ts'
import { type Service, type ServiceOptions, startService } from './service.ts'

/** One fault, or one load, and what the service makes of it. */
export interface Scenario {
  name: string
  /** What is done to it. */
  what: string
  goal: string
  /** @returns what was measured, and whether that is the goal */
  run(tools: Tools): Promise<{ figure: string; ok: boolean }>
}

/** What scenarios are made of. All that is opened is closed when the scenario ends. */
export class Tools {
  readonly issuer: Issuer
  readonly #server: () => Promise<Postgres>
  readonly #ends: (() => unknown)[] = []
  /** Seconds to go on for, if somebody wants to wait for longer. */
  readonly seconds: number | undefined

  constructor(issuer: Issuer, server: () => Promise<Postgres>, seconds?: number) {
    this.issuer = issuer
    this.#server = server
    this.seconds = seconds
  }

  teardown(end: () => unknown): void {
    this.#ends.push(end)
  }

  async close(): Promise<void> {
    for (const end of this.#ends.splice(0).toReversed()) await end()
  }

  /** A new database with its tables, unless it is to be empty, and the server that it is on. */
  async database({ empty = false } = {}): Promise<{ url: string; name: string; server: Postgres }> {
    const server = await this.#server()
    const name = `faults_${process.hrtime.bigint()}`
    await server.query(`create database ${name}`)
    const url = server.url(name)
    if (!empty) await seed(url, { users: 0, tasks: 0 })
    this.teardown(() => server.query(`drop database ${name} with (force)`))
    return { url, name, server }
  }

  /** Gives users tasks of their own. Returns a token for each. */
  async users(
    url: string,
    users: number,
    tasks: number,
    prefix = 'user',
  ): Promise<{ token: string; ids: number[] }[]> {
    const owned = await seed(url, { users, tasks, prefix })
    const names = Array.from({ length: users }, (_, i) => `${prefix}-${i}`)
    return Promise.all(
      names.map(async (name) => ({ token: await this.token(name), ids: owned.get(name) ?? [] })),
    )
  }

  token(sub: string): Promise<string> {
    return this.issuer.sign('HS256', sub)
  }

  /** The service, in production mode, with limits that nobody reaches. */
  async service(env: Record<string, string>, options: ServiceOptions = {}): Promise<Service> {
    const service = await startService({ ...ENVIRONMENT, ...env }, options)
    this.teardown(() => service.kill())
    return service
  }

  proxy(url: string): ReturnType<typeof openProxy> {
    return openProxy(this, url)
  }

  async redis(): Promise<{ url: string; process: Running; port: number }> {
    const port = await freePort()
    const process = new Running(find('redis-server'), [
      '--port',
      String(port),
      '--save',
      '',
      '--dir',
      this.folder(),
    ])
    this.teardown(() => process.kill())
    const cli = find('redis-cli')
    await until(
      'Redis starts',
      async () => (await new Running(cli, ['-p', String(port), 'ping']).ended).code === 0,
    )
    return { url: `redis://127.0.0.1:${port}`, process, port }
  }

  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'taskward-faults-'))
    this.teardown(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
    return folder
  }
}

/** Opens what all scenarios share, which is made when the first one needs it. */
export async function openTools(seconds?: number): Promise<{ tools: Tools; close(): Promise<void> }> {
  const issuer = await openIssuer()
  let server: Promise<Postgres> | undefined
  const tools = new Tools(issuer, () => (server ??= Postgres.create()), seconds)
  return {
    tools,
    async close() {
      await tools.close()
      issuer.close()
      await (await server)?.remove()
    },
  }
}
