import { Redis } from 'ioredis'
import type { Examination } from './doctor.ts'
import { explainNetwork } from './network.ts'

const TIMEOUT = 3000

/** Whether the Redis that shares the limits answers. */
export async function examineRedis(url: string): Promise<Examination> {
  const check = `Redis at ${URL.parse(url)?.host}`
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: TIMEOUT,
    commandTimeout: TIMEOUT,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  let fault: Error | undefined
  redis.on('error', (error) => (fault = error)) // says more than the connection that was closed by it
  try {
    await redis.connect()
    await redis.ping()
    return { check, advice: [] }
  } catch (error) {
    const advice = `It does not answer (${explainNetwork(fault ?? error)}). Is it running, and is REDIS_URL right?`
    return { check, advice: [advice] }
  } finally {
    redis.disconnect()
  }
}
