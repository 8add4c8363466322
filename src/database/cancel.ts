import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

/** What pg keeps of a connection that was made. */
interface Session {
  host: string
  port: number
  ssl: pg.ConnectionConfig['ssl']
  sslNegotiation: string
  /** Of the backend, with the secret that a CancelRequest must name. */
  processID: number | null
  secretKey: number | null
  connection: { stream: unknown }
}

/** A connection that nobody has logged in on. */
interface Bare {
  stream: Socket
  connect(port: number | string, host?: string): void
  requestSsl(): void
  cancel(processID: number, secretKey: number): void
  on(event: 'connect' | 'sslconnect' | 'error' | 'end', listener: () => void): void
}

const TIMEOUT_MS = 1_000
// What was written behind the statement that hangs runs next, and hangs as well: as many as a connection carries.
const TIMES = 4
const EVERY_MS = 250

/**
 * Asks PostgreSQL to cancel what it is doing for a connection that was closed (a CancelRequest: PostgreSQL's
 * documentation, 55.2.8). A backend that waits, for a lost synchronous standby for instance, does not notice that its
 * client has gone, and one by one such backends take up max_connections.
 *
 * Best effort: needs no free connection, ends within seconds, never throws. A pooler may not pass it on.
 */
export async function cancel(client: pg.ClientBase): Promise<void> {
  const session = client as unknown as Session
  if (!(session.connection.stream instanceof Socket)) return // the embedded database has one session
  for (let i = 0; i < TIMES; i++) {
    if (i > 0) await sleep(EVERY_MS, undefined, { ref: false })
    await requestCancel(session)
  }
}

function requestCancel({ host, port, ssl, sslNegotiation, ...session }: Session): Promise<void> {
  return new Promise((resolve) => {
    const { processID, secretKey } = session
    if (processID === null || secretKey === null) return resolve()
    const bare = new pg.Connection({ ssl, sslNegotiation } as pg.ConnectionConfig) as unknown as Bare
    const timer = setTimeout(() => bare.stream.destroy(), TIMEOUT_MS).unref()
    const send = () => bare.cancel(processID, secretKey)
    bare.on('error', () => {})
    bare.on('end', () => {
      clearTimeout(timer)
      resolve()
    })
    bare.on('connect', () => {
      if (!ssl) send()
      else if (sslNegotiation !== 'direct') bare.requestSsl()
    })
    bare.on('sslconnect', send)
    if (host.startsWith('/')) bare.connect(`${host}/.s.PGSQL.${port}`)
    else bare.connect(port, host)
  })
}
