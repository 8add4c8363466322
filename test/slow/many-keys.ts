// Counts many addresses in the limiter, in its own process: tap's hooks would cost more than everything else.
import { buildApp } from '../../src/app.ts'
import { createLogger } from '../../src/log.ts'

const app = await buildApp({
  env: {
    NODE_ENV: 'production', // so that it needs no database
    DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
    FRONTEND_URL: 'https://app.example.com',
    BETTER_AUTH_SECRET: 'q4bT9vX2mK7wR1zN8cJ5hL3pF6sD0gYa',
    AUTH_RATE_LIMIT_MAX: '2',
  },
  logger: createLogger({ write: () => {} }),
})
await app.ready()

const reply = { header: () => reply }
/** One request through the limiter alone. */
const count = (ip: string) =>
  app.limitAddress.call(app, { ip, routeOptions: {} } as never, reply as never) as Promise<void>
const isRefused = () =>
  count('203.0.113.1').then(
    () => false,
    (error) => error.message.startsWith('Too many requests'),
  )

let next = 0
async function others(keys: number): Promise<void> {
  for (let i = 0; i < keys; i++) {
    next += 1
    await count(`${(next >> 16) & 255}.${(next >> 8) & 255}.${next & 255}.1`)
  }
}

/** In megabytes. */
function heap(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 2 ** 20
}

const first = [await isRefused(), await isRefused(), await isRefused()]
await others(40_000)
const remembered = String(first) === 'false,false,true' && (await isRefused())

await others(60_000)
const before = heap()
await others(200_000)
const megabytes = Number((heap() - before).toFixed(1))

await app.close()
process.stdout.write(JSON.stringify({ remembered, megabytes }))
