import { Redis } from 'ioredis'
import tap, { type Test } from 'tap'

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
