import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import closeWithGrace from 'close-with-grace'
import type { FastifyBaseLogger } from 'fastify'
import { exitWith, WorkersError } from './exit.ts'

/** The message that makes a worker drain and exit. */
export const DRAIN = 'drain'

const MINUTE_MS = 60_000
/** How often each process may exit in a minute. */
const MAX_EXITS = 5
const FIRST_PAUSE_MS = 100
const MAX_PAUSE_MS = 5_000

/**
 * Runs this program in several processes that share a port, and replaces each that exits: after 0.1 seconds, then 0.2,
 * and up to 5. On SIGTERM or SIGINT all of them drain. Exits with code 1 if the first worker fails before listening;
 * that worker has already printed the reason. Drains and exits with code 1 if workers exit too often.
 *
 * @param count of processes
 * @param delay milliseconds after which workers that are still running are killed
 */
export function runWorkers(
  count: number,
  { delay, logger }: { delay: number; logger: FastifyBaseLogger },
): void {
  let started = false
  let draining = false
  let exits: number[] = []
  const serving = new Set<Worker>()

  const { close } = closeWithGrace({ delay, logger }, async ({ err, manual }) => {
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
    if (manual) {
      exitWith(
        new WorkersError(`Worker processes exited ${exits.length} times within a minute: the log says why.`),
      )
    }
  })

  cluster.on('fork', closeUntaken)
  cluster.on('listening', (worker) => {
    serving.add(worker)
    // Fork the rest only once the first is listening, so that a start-up error is printed once.
    if (!started && !draining) for (let i = 1; i < count; i++) cluster.fork()
    started = true
  })
  cluster.on('exit', (worker, code, signal) => {
    serving.delete(worker)
    if (draining) return
    if (!started) process.exit(1)
    const now = performance.now()
    exits = [...exits.filter((at) => at > now - MINUTE_MS), now]
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** Math.floor((exits.length - 1) / count), MAX_PAUSE_MS)
    logger.error({ pid: worker.process.pid, pause, code, signal }, 'worker exited unexpectedly, restarting')
    if (exits.length >= count * MAX_EXITS) void close()
    else setTimeout(() => draining || cluster.fork(), pause)
  })
  cluster.fork()
}

/** A message of Node.js's own between the primary and a worker. */
interface Internal {
  act?: string
  seq?: number
  ack?: number
}

/**
 * The primary accepts connections and hands them on. Those that a worker had not taken yet when it was killed, Node.js
 * keeps open, and their clients would wait for ever: this closes them.
 */
function closeUntaken(worker: Worker): void {
  const { process: child } = worker
  const untaken = new Map<number | undefined, { close(): void }>()
  const send = child.send as (...args: unknown[]) => boolean
  child.send = (message: Internal, ...rest: unknown[]) => {
    if (message.act === 'newconn') untaken.set(message.seq, rest[0] as { close(): void })
    return send.call(child, message, ...rest)
  }
  child.on('internalMessage', ({ ack }: Internal) => untaken.delete(ack))
  worker.once('exit', () => {
    for (const connection of untaken.values()) connection.close()
  })
}
