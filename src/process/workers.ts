import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import closeWithGrace from 'close-with-grace'
import type { FastifyBaseLogger } from 'fastify'

/** The message that makes a worker drain and exit. */
export const DRAIN = 'drain'

/**
 * Runs this program in several processes that share a port, and replaces each that exits. On SIGTERM or SIGINT all of
 * them drain. Exits with code 1 if the first worker fails before listening; that worker has already printed the reason.
 *
 * @param count of processes
 * @param delay milliseconds after which workers that are still running are killed
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
    // Fork the rest only once the first is listening, so that a start-up error is printed once.
    if (serving.size === 0 && !draining) for (let i = 1; i < count; i++) cluster.fork()
    serving.add(worker)
  })
  cluster.on('exit', (worker, code, signal) => {
    if (draining) return
    if (serving.size === 0) process.exit(1)
    logger.error({ pid: worker.process.pid, code, signal }, 'worker exited unexpectedly, restarting')
    cluster.fork()
  })
  cluster.fork()
}
