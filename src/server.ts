import closeWithGrace from 'close-with-grace'
import { buildApp } from './app.ts'
import { exitWith } from './exit.ts'
import { createLogger } from './log.ts'

// Longer than a request may take, shorter than the time the platform waits before it kills.
const DRAIN_MS = 8_000

const logger = createLogger()
try {
  const app = await buildApp({ env: process.env, logger })
  closeWithGrace({ delay: DRAIN_MS, logger }, async ({ err }) => {
    if (err) app.log.fatal({ err }, 'uncaught error, shutting down')
    await app.close()
  })
  await app.listen({ port: app.config.PORT, host: app.config.HOST }).catch((error) => {
    throw Object.assign(error, { syscall: 'listen' }) // also where looking HOST up failed
  })
} catch (error) {
  exitWith(error)
}
