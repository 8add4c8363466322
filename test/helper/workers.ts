// Two worker processes and no service. The first ones, as many as the argument says, greet whoever connects, until they
// are told to drain; those after them exit at once.
import cluster from 'node:cluster'
import { type AddressInfo, createServer } from 'node:net'

const { worker } = cluster
if (!worker) {
  // Not loaded by the workers, which start faster without.
  const { createLogger } = await import('../../src/log.ts')
  const { runWorkers } = await import('../../src/process/index.ts')
  runWorkers(2, { delay: 5_000, logger: createLogger() })
} else if (worker.id > Number(process.argv[2])) process.exit(3)
else {
  process.on('message', () => process.exit(0))
  const server = createServer((socket) => socket.end('hello'))
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo
    process.stdout.write(`${JSON.stringify({ pid: process.pid, port, msg: 'listening' })}\n`)
  })
}
