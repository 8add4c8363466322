import closeWithGrace from 'close-with-grace'
import { createLogger } from './log.ts'
import { olderVariables } from './older-variables.ts'
import { exitWith } from './process/index.ts'

// Longer than a request may take, shorter than the platform waits before it kills the process.
const DRAIN_MS = 8_000
// Whoever signals a whole group of processes, as systemd and terminals do, signals npm as well, which hands it on: it
// comes twice.
const SIGNALS = ['SIGINT', 'SIGTERM'] as const
const SAME_SIGNAL_MS = 1_000

const logger = createLogger()
try {
  const { buildApp } = await import('./app.ts') // here, so that a statement that the guard refuses is a sentence
  const app = await buildApp({ env: process.env, logger })
  const older = olderVariables(process.env)
  if (older) app.log.warn(older)
  let endsSince: number | undefined
  const { close } = closeWithGrace({ delay: DRAIN_MS, logger, skip: [...SIGNALS] }, async ({ err }) => {
    endsSince ??= -Infinity // for another reason than a signal
    if (err) app.log.fatal({ err }, 'uncaught error, shutting down')
    await app.drain()
    await app.close()
  })
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      const now = performance.now()
      if (endsSince === undefined) {
        endsSince = now
        void close()
      } else if (now > endsSince + SAME_SIGNAL_MS) {
        app.log.error(`second ${signal}, exiting`)
        process.exit(1)
      }
    })
  }
  // Without an address, Node.js listens on `::`, which takes IPv4 as well, or on 0.0.0.0 where there is no IPv6. Fastify
  // would take undefined for localhost.
  await app.listen({ port: app.config.PORT, host: app.config.HOST ?? '' }).catch((error) => {
    throw Object.assign(error, { syscall: 'listen' }) // also when HOST could not be resolved
  })
} catch (error) {
  exitWith(error)
}
