import { Agent } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, call, timesOf } from '../clients.ts'
import type { Scenario, Tools } from '../tools.ts'
import { seconds } from '../writing.ts'

const CLIENTS = 20

/** A service of its own for each kind. */
interface Held {
  socket: Socket
  /** Sends many requests at once. */
  send(method: string, path: string): Promise<Answer>[]
  /** The clients go away. */
  leave(): void
  stopDatabase(): void
  /** The first lines of a request, without the last one. */
  begin(line: string): string
  lockedTask: string
}

/** How it is held. Returns the answers to requests whose clients wait. */
type Hold = (held: Held) => void | Promise<Answer>[]

const HOLDS: Record<string, Hold> = {
  silent: () => {},
  'slow header': ({ socket, begin }) => void socket.write(begin('GET /todos')),
  'slow body': ({ socket, begin }) =>
    void socket.write(`${begin('POST /todos')}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{`),
  'unread answers': ({ socket, begin }) =>
    void socket.pause().write(`${begin('GET /todos?limit=1000')}\r\n`.repeat(50)),
  'stopped database': ({ stopDatabase, send }) => {
    stopDatabase()
    return send('GET', '/todos')
  },
  'stopped database, clients gone': ({ stopDatabase, send, leave }) => {
    stopDatabase()
    send('GET', '/todos')
    setTimeout(leave, 300)
  },
  'locked rows': ({ send, lockedTask }) => send('PATCH', `${lockedTask}/toggle`),
}

export default {
  name: 'shutdown-held',
  what:
    'SIGTERM with one connection open: silent, a slow header, a slow body, lists of 1,000 tasks that are not read; ' +
    `with ${CLIENTS} requests under way: on a stopped database, the same when the clients have gone, on locked rows`,
  goal: 'exit code 0 in < 6 s; who waits is answered',
  async run(tools) {
    const { url, server, name } = await tools.database()
    const [user] = await tools.users(url, 1, 1000)
    const { token = '', ids = [] } = user ?? {}
    const locker = await server.connect(name)
    tools.teardown(() => locker.end())
    await locker.query('begin')
    await locker.query('select from tasks where id = $1 for update', [ids[0]])
    const ends = await Promise.all(
      Object.entries(HOLDS).map(async ([kind, hold]) => {
        const { service, ...held } = await holdable(tools, url, token)
        const answers = Promise.all(hold({ ...held, lockedTask: `/todos/${ids[0]}` }) ?? [])
        await sleep(500)
        const { code, signal, ms } = await service.terminate()
        const { kinds } = timesOf(await answers)
        return {
          text: `${kind} ${code ?? signal} after ${seconds(ms)}${kinds && ` (${kinds})`}`,
          ok: code === 0 && ms < 6_000 && !kinds.includes('cut'),
        }
      }),
    )
    return { figure: ends.map(({ text }) => text).join(', '), ok: ends.every(({ ok }) => ok) }
  },
} satisfies Scenario

async function holdable(tools: Tools, url: string, token: string) {
  const proxy = await tools.proxy(url)
  const service = await tools.service({ DATABASE_URL: proxy.url })
  await call(service.url, { path: '/todos', token }) // so that it has connections
  const socket = connect(Number(new URL(service.url).port), '127.0.0.1')
  socket.on('error', () => {})
  const agent = new Agent()
  const leave = () => agent.destroy()
  tools.teardown(() => socket.destroy())
  tools.teardown(leave)
  return {
    service,
    socket,
    leave,
    stopDatabase: () => void proxy.block(),
    begin: (line: string) => `${line} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n`,
    send: (method: string, path: string) =>
      Array.from({ length: CLIENTS }, () => call(service.url, { method, path, token, agent })),
  }
}
