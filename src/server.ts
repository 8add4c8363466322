import closeWithGrace from 'close-with-grace'
import { createLogger } from './log.ts'
import { olderVariables } from './older-variables.ts'
import { exitWith } from './process/index.ts'

// Longer than a request may take, shorter than the platform waits before it kills the process.
const DRAIN_MS = 8_000

const logger = createLogger()
try {
  const { buildApp } = await import('./app.ts') // here, so that a statement that the guard refuses is a sentence
  const app = await buildApp({ env: process.env, logger })
  const older = olderVariables(process.env)
  if (older) app.log.warn(older)
  closeWithGrace({ delay: DRAIN_MS, logger }, async ({ err }) => {
    if (err) app.log.fatal({ err }, 'uncaught error, shutting down')
    await app.drain()
    await app.close()
  })
  // Without an address, Node.js listens on `::`, which takes IPv4 as well, or on 0.0.0.0 where there is no IPv6. Fastify
  // would take undefined for localhost.
  await app.listen({ port: app.config.PORT, host: app.config.HOST ?? '' }).catch((error) => {
    throw Object.assign(error, { syscall: 'listen' }) // also when HOST could not be resolved
  })
} catch (error) {
  exitWith(error)
}
