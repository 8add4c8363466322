import cluster from 'node:cluster'
import closeWithGrace from 'close-with-grace'
import { createLogger } from './log.ts'
import { olderVariables } from './older-variables.ts'
import { DRAIN, exitWith, runWorkers } from './process/index.ts'

// Longer than a request may take, shorter than the platform waits before it kills the process.
const DRAIN_MS = 8_000

const logger = createLogger()
try {
  // Not validated here: each worker validates its whole environment, and a fault ends the first one.
  const processes = cluster.isPrimary ? Number(process.env.WEB_CONCURRENCY) : 1
  if (processes > 1) runWorkers(processes, { delay: DRAIN_MS + 500, logger })
  else await serve()
} catch (error) {
  exitWith(error)
}

async function serve(): Promise<void> {
  const { buildApp } = await import('./app.ts') // not loaded by the process that only starts workers
  const app = await buildApp({ env: process.env, logger })
  const older = olderVariables(process.env)
  if (older && (cluster.worker?.id ?? 1) === 1) app.log.warn(older) // of several processes the first
  const { close } = closeWithGrace({ delay: DRAIN_MS, logger }, async ({ err }) => {
    if (err) app.log.fatal({ err }, 'uncaught error, shutting down')
    await app.drain()
    await app.close()
  })
  cluster.worker?.on('message', (message) => {
    if (message === DRAIN) void close()
  })
  // Without an address, Node.js listens on `::`, which takes IPv4 as well, or on 0.0.0.0 where there is no IPv6. Fastify
  // would take undefined for localhost.
  await app.listen({ port: app.config.PORT, host: app.config.HOST ?? '' }).catch((error) => {
    throw Object.assign(error, { syscall: 'listen' }) // also when HOST could not be resolved
  })
}
