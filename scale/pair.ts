import { setTimeout as sleep } from 'node:timers/promises'
import { seed } from '../bench/seed.ts'
import { call } from '../faults/clients.ts'
import { Postgres } from '../faults/postgres.ts'
import { until } from '../faults/processes.ts'
import type { Tools } from '../faults/tools.ts'

const NAME = 'tasks'

/** A primary and its synchronous standby, which change places. */
export class Pair {
  readonly name = NAME
  primary: Postgres
  standby: Postgres
  /** The address of both, always in the same order. */
  readonly url: string

  private constructor(primary: Postgres, standby: Postgres) {
    this.primary = primary
    this.standby = standby
    this.url = `postgres://postgres@${primary.host},${standby.host}/${NAME}?target_session_attrs=read-write`
  }

  static async create(tools: Tools): Promise<Pair> {
    const primary = await Postgres.create()
    tools.teardown(() => primary.remove())
    await primary.query(`create database ${NAME}`)
    await seed(primary.url(NAME), { users: 0, tasks: 0 })
    const standby = await Postgres.following(primary)
    tools.teardown(() => standby.remove())
    const pair = new Pair(primary, standby)
    await pair.#synchronize()
    return pair
  }

  /** Makes the standby the primary, and waits until it takes writes. */
  async promote(): Promise<void> {
    await this.standby.query('select pg_promote()')
    ;[this.primary, this.standby] = [this.standby, this.primary]
  }

  /** Makes the former primary the standby, from a copy of the new one. */
  async rebuild(): Promise<void> {
    await this.standby.follow(this.primary)
    await this.#synchronize()
  }

  /** From then on, a commit is answered once the standby has it. */
  async #synchronize(): Promise<void> {
    await this.primary.query("alter system set synchronous_standby_names = '*'")
    await this.primary.query('select pg_reload_conf()')
    await until('the standby follows', async () => {
      const [row] = await this.primary.query<{ n: number }>(
        "select count(*)::int as n from pg_stat_replication where state = 'streaming' and sync_state = 'sync'",
      )
      return row?.n === 1
    })
    // Sessions read the setting on their own.
    await this.primary.query('checkpoint')
    await sleep(1_000)
  }

  query<Row extends object>(sql: string, database?: string): Promise<Row[]> {
    return this.primary.query<Row>(sql, database)
  }
}

/** Finds out from when on a service writes, by clients that none of the others wait for. */
export class Probe {
  readonly #url: string
  readonly #tokens: readonly string[]
  readonly #sent: Promise<unknown>[] = []

  private constructor(url: string, tokens: readonly string[]) {
    this.#url = url
    this.#tokens = tokens
  }

  static async create(tools: Tools, url: string): Promise<Probe> {
    return new Probe(url, await Promise.all(Array.from({ length: 100 }, (_, i) => tools.token(`probe-${i}`))))
  }

  /** Milliseconds until a write is done. */
  async firstWrite(seconds = 30): Promise<number> {
    const start = performance.now()
    const done: number[] = []
    for (let i = 0; done.length === 0; i++) {
      if (performance.now() - start > seconds * 1000)
        throw new Error(`nothing is written within ${seconds} s`)
      const write = call(this.#url, {
        method: 'POST',
        path: '/todos',
        token: this.#tokens[i % this.#tokens.length],
        body: { title: 'probe' },
      })
      this.#sent.push(write.then(({ status }) => status === 201 && done.push(performance.now() - start)))
      await sleep(10)
    }
    return done[0] ?? 0
  }

  /** Removes what it has written, once that has ended. */
  async clear(servers: Pick<Pair, 'name' | 'query'>): Promise<void> {
    await Promise.all(this.#sent)
    await servers.query("delete from tasks where user_id like 'probe-%'", servers.name)
  }
}

/** `p50 120 ms, at most 300 ms`. */
export function figureOf(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b)
  const ms = (at: number) => `${Math.round(sorted[at] ?? 0)} ms`
  return `p50 ${ms(Math.floor(sorted.length / 2))}, at most ${ms(sorted.length - 1)}`
}
