import { thousands, Writers, type WritersOptions } from './clients.ts'
import type { Postgres } from './postgres.ts'
import type { Service } from './service.ts'
import type { Tools } from './tools.ts'

const WRITERS = 32
const USERS = 16

/** A service that clients write to. */
export interface Written {
  url: string
  name: string
  server: Postgres
  service: Service
  writers: Writers
}

export interface WritingOptions extends WritersOptions {
  /** Makes the address that the service is given of the database's own. */
  address?: (url: string) => Promise<string>
  /** The port of the service. Default: a free one. */
  port?: number
  /** The answers that are fine: 0 is none at all. Default: 201 and 503. */
  allowed?: number[]
}

/**
 * Lets clients write while something goes wrong, and compares what they were told with what is there.
 * @param disturb what goes wrong; returns what it did, for the report
 */
export async function underWriters(
  tools: Tools,
  disturb: (written: Written) => Promise<string>,
  { address = async (url) => url, port, ...options }: WritingOptions = {},
): Promise<Outcome> {
  const { url, name, server } = await tools.database()
  const service = await tools.service({ DATABASE_URL: await address(url) }, { port })
  return compared(tools, (writers) => disturb({ url, name, server, service, writers }), {
    ...options,
    to: service.url,
    name,
    server,
  })
}

export interface Outcome {
  figure: string
  ok: boolean
  writers: Writers
}

/** The same for a service that runs already. */
export async function compared(
  tools: Tools,
  disturb: (writers: Writers) => Promise<string>,
  {
    to,
    name,
    server,
    allowed = [201, 503],
    ...options
  }: WritersOptions & {
    allowed?: number[]
    to: string
    name: string
    server: Pick<Postgres, 'query'>
  },
): Promise<Outcome> {
  const tokens = await Promise.all(Array.from({ length: USERS }, (_, i) => tools.token(`writer-${i}`)))
  const writers = new Writers(to, tokens, WRITERS, options)
  const done = await disturb(writers).finally(() => writers.stop())
  const rows = await server.query<{ title: string }>('select title from tasks', name)
  const { lost, doubled, denied } = writers.compare(rows.map(({ title }) => title))
  const inDoubt = rows.length - writers.acknowledged.size + lost
  const figure =
    `${done}: ${thousands(writers.acknowledged.size)} acknowledged, **${lost} lost, ${doubled} doubled**; ` +
    `${writers.answers}; ${thousands(inDoubt)} written without a 201, **${denied} of them denied**; longest ${seconds(writers.longest)}`
  const ok = lost + doubled + denied === 0 && writers.has(...allowed) && writers.acknowledged.size > 0
  return { figure, ok, writers }
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

export const times = async (count: number, act: (i: number) => Promise<unknown>): Promise<void> => {
  for (let i = 0; i < count; i++) await act(i)
}
