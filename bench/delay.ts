// The way to a distant database: passes TCP on, each direction half a round trip later, and tells its parent the port. A
// process of its own, so that it is late only when the machine is.
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

const POLL_MS = 0.1
const [host, port, roundTrip] = process.argv.slice(2)
const delay = Number(roundTrip) / 2

/** What is on its way, in the order that it arrives in: all of it takes equally long. */
const underway: { due: number; to: Socket; data: Buffer }[] = []
const clock = new Int32Array(new SharedArrayBuffer(4))

function deliver(): void {
  let next = underway[0]
  for (; next && next.due <= performance.now(); next = underway[0]) {
    next.to.write(next.data)
    underway.shift()
  }
  if (!next) return
  // Timers count whole milliseconds. This sleeps for a fraction of one, and then looks at the sockets.
  Atomics.wait(clock, 0, 0, Math.min(POLL_MS, Math.max(0, next.due - performance.now())))
  setImmediate(deliver)
}

function pass(from: Socket, to: Socket): void {
  from.setNoDelay().on('error', () => {})
  from.on('close', () => to.destroy())
  from.on('data', (data) => {
    if (underway.push({ due: performance.now() + delay, to, data }) === 1) setImmediate(deliver)
  })
}

const server = createServer((near) => {
  const far = connect(Number(port), host)
  pass(near, far)
  pass(far, near)
})
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
process.on('disconnect', () => process.exit())
