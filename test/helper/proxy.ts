import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

const DEFAULT_PORTS: Record<string, number> = { 'redis:': 6379, 'postgres:': 5432, 'postgresql:': 5432 }

/** A proxy to the server of an address, which can be cut, blocked, delayed and restored. */
export async function openProxy(t: Pick<Test, 'teardown'>, address: string) {
  const { hostname, port, protocol } = new URL(address)
  const sockets = new Set<Socket>()
  let blocked = false
  let left = Infinity
  let delay = 0
  let connections = 0
  let cuts = 0
  const server = createServer((socket) => {
    connections += 1
    const upstream = connect(Number(port || DEFAULT_PORTS[protocol]), hostname)
    for (const [from, to] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      sockets.add(from)
      let due = 0
      from.on('error', () => {})
      from.on('close', () => to.destroy())
      from.on('data', (data) => {
        if (blocked) return
        const passed = data.subarray(0, left)
        left -= passed.length
        const now = performance.now()
        due = Math.max(due, now + delay) // nothing overtakes what is still delayed
        if (due > now) setTimeout(() => to.write(passed), due - now)
        else to.write(passed)
        if (left > 0) return
        cuts += 1
        drop()
      })
    }
  })
  const listen = async (at: number) => {
    server.listen(at, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const drop = () => {
    left = Infinity
    for (const socket of sockets) socket.destroy()
    sockets.clear()
  }
  const cut = async () => {
    if (!server.listening) return
    server.close()
    drop()
    await once(server, 'close')
  }
  t.teardown(cut)
  const at = await listen(0)
  const url = new URL(address)
  url.host = `127.0.0.1:${at}`
  return {
    url: url.href,
    /** How many there were so far. */
    connections: () => connections,
    cut,
    restore: () => listen(at),
    /** Cuts all connections once this many more bytes have passed, in either direction. */
    cutAfter: (bytes: number) => (left = bytes),
    /** How often that has happened. */
    cuts: () => cuts,
    block: () => (blocked = true),
    /** Milliseconds that each answer, and each question, takes longer. */
    slowDown: (milliseconds: number) => (delay = milliseconds),
    unblock: () => {
      blocked = false
      drop()
    },
  }
}
