import cluster, { type Worker } from 'node:cluster'
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
  const serving = new Set<Worker>()
  closeWithGrace({ delay, logger }, async ({ err }) => {
    if (err) logger.fatal({ err }, 'uncaught error, shutting down')
    draining = true
    await Promise.all(
      Object.values(cluster.workers ?? {}).map(async (worker) => {
        if (!worker) return
        if (serving.has(worker)) worker.send(DRAIN)
        else worker.process.kill() // it has accepted nothing yet, and would not hear the message
        await once(worker, 'exit')
      }),
    )
  })

  cluster.on('listening', (worker) => {
    // The others only now: what keeps the first one from starting is told once.
    if (serving.size === 0 && !draining) for (let i = 1; i < count; i++) cluster.fork()
    serving.add(worker)
  })
  cluster.on('exit', (worker, code, signal) => {
    if (draining) return
    if (serving.size === 0) process.exit(1)
    logger.error({ pid: worker.process.pid, code, signal }, 'a process ended unasked: starting another')
    cluster.fork()
  })
  cluster.fork()
}
