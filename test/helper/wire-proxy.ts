import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** A message of PostgreSQL's protocol. */
export interface Message {
  /** The byte that names its kind: `D` is a DataRow from the server, a Describe from the client; `''` a startup packet. */
  type: string
  body: Buffer
}

/** Returns what goes on in place of a message; undefined leaves it as it is. */
type Rewrite = (message: Message) => Message[] | undefined

/** What is done to the messages of each new connection; all of it may change while it is open. */
export interface Rewriting {
  toServer?: Rewrite
  toClient?: Rewrite
}

/** A way to a PostgreSQL server that rewrites its messages. It ends with the test. */
export async function openWireProxy(
  t: Test,
  address: string,
  rewriting: () => Rewriting,
): Promise<{ url: string; connections: () => number }> {
  const { hostname, port } = new URL(address)
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer((client) => {
    connections += 1
    const upstream = connect(Number(port || 5432), hostname)
    const { toServer, toClient } = rewriting()
    pump(client, upstream, new Reader(true), toServer)
    pump(upstream, client, new Reader(false), toClient)
  })
  function pump(from: Socket, to: Socket, reader: Reader, rewrite: Rewrite = () => undefined): void {
    sockets.add(from)
    from.on('data', (chunk) => {
      for (const message of reader.read(chunk))
        for (const one of rewrite(message) ?? [message]) to.write(write(one))
    })
    from.on('error', () => to.destroy())
    from.on('close', () => to.destroy())
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const url = new URL(address)
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url: url.href, connections: () => connections }
}

/** Cuts a stream of bytes into messages. */
class Reader {
  #rest: Buffer = Buffer.alloc(0)
  /** A client's first message has no type. */
  #startup: boolean

  constructor(ofClient: boolean) {
    this.#startup = ofClient
  }

  *read(chunk: Buffer): Generator<Message> {
    this.#rest = Buffer.concat([this.#rest, chunk])
    for (;;) {
      const start = this.#startup ? 0 : 1
      if (this.#rest.length < start + 4) return
      const end = start + this.#rest.readInt32BE(start)
      if (this.#rest.length < end) return
      const type = this.#rest.toString('latin1', 0, start)
      const body = Buffer.from(this.#rest.subarray(start + 4, end))
      this.#rest = this.#rest.subarray(end)
      this.#startup = false
      yield { type, body }
    }
  }
}

function write({ type, body }: Message): Buffer {
  const head = Buffer.alloc(type.length + 4)
  head.write(type, 'latin1')
  head.writeInt32BE(body.length + 4, type.length)
  return Buffer.concat([head, body])
}

export const sync: Message = { type: 'S', body: Buffer.alloc(0) }

/** A simple query. */
export const query = (sql: string): Message => ({ type: 'Q', body: Buffer.from(`${sql}\0`) })

/** A DataRow of these texts. */
export function dataRow(values: readonly (string | null)[]): Message {
  const count = Buffer.alloc(2)
  count.writeInt16BE(values.length)
  const cells = values.map((value) => {
    const size = Buffer.alloc(4)
    size.writeInt32BE(value === null ? -1 : Buffer.byteLength(value))
    return Buffer.concat([size, Buffer.from(value ?? '')])
  })
  return { type: 'D', body: Buffer.concat([count, ...cells]) }
}

/** The texts of a DataRow. */
export function textsOf({ body }: Message): (string | null)[] {
  let at = 2
  return Array.from({ length: body.readInt16BE(0) }, () => {
    const size = body.readInt32BE(at)
    at += 4 + Math.max(size, 0)
    return size < 0 ? null : body.toString('utf8', at - size, at)
  })
}
