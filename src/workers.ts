import cluster from 'node:cluster'
import { once } from 'node:events'
import closeWithGrace from 'close-with-grace'
import type { FastifyBaseLogger } from 'fastify'

/** What a worker is sent when it shall drain and end. */
export const DRAIN = 'drain'

/**
 * Runs this program in several processes that share a port, and a new one for each that dies. On SIGTERM or SIGINT all
 * of them drain. Ends with exit code 1 if the first one does not come to listen: it has said why.
 *
 * @param count of processes
 * @param delay milliseconds after which those that have not ended are killed
 */
export function runWorkers(
  count: number,
  { delay, logger }: { delay: number; logger: FastifyBaseLogger },
): void {
  let draining = false
  closeWithGrace({ delay, logger }, async ({ err }) => {
    if (err) logger.fatal({ err }, 'uncaught error, shutting down')
    draining = true
    await Promise.all(
      Object.values(cluster.workers ?? {}).map(async (worker) => {
        worker?.send(DRAIN)
        await once(worker as NonNullable<typeof worker>, 'exit')
      }),
    )
  })

  let serving = false
  cluster.once('listening', () => {
    serving = true
    // The others only now: what keeps the first one from starting is told once.
    for (let i = 1; i < count; i++) cluster.fork()
  })
  cluster.on('exit', ({ process: { pid } }, code, signal) => {
    if (draining) return
    if (!serving) process.exit(1)
    logger.error({ pid, code, signal }, 'a process ended unasked: starting another')
    cluster.fork()
  })
  cluster.fork()
}
