import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { Redis } from 'ioredis'
import tap, { type Test } from 'tap'
import { freePort } from './http.ts'

export const REDIS_URL = process.env.TEST_REDIS_URL ?? 'redis://127.0.0.1:6379'

export const redis = new Redis(REDIS_URL, {
  lazyConnect: true,
  retryStrategy: () => null,
  maxRetriesPerRequest: 0,
})
redis.on('error', () => {})
tap.teardown(() => redis.disconnect())

/** Whether there is a Redis to test with. */
export const hasRedis = await redis.connect().then(
  () => true,
  () => false,
)

/** Deletes the counts of these, however the test ends. */
export function forget(t: Test, ...names: string[]): void {
  t.teardown(async () => {
    for (const name of names) {
      for await (const keys of redis.scanStream({ match: `taskward-limit-*${name}*`, count: 1000 })) {
        if (keys.length > 0) await redis.del(...keys)
      }
    }
  })
}

/** Whether there is a Redis to start. */
export const canStartRedis = spawnSync('redis-server', ['--version']).status === 0

/** Starts a Redis of the test's own, to be broken; it ends with the test. */
export async function startRedis(t: Test): Promise<{ url: string; client: Redis }> {
  const port = await freePort(t)
  const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', ''], {
    stdio: 'ignore',
  })
  const client = new Redis(port, '127.0.0.1', { retryStrategy: () => 50, maxRetriesPerRequest: null })
  client.on('error', () => {})
  t.teardown(async () => {
    client.disconnect()
    server.kill('SIGKILL')
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
  })
  await client.ping()
  return { url: `redis://127.0.0.1:${port}`, client }
}
