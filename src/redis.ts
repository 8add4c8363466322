import { Redis } from 'ioredis'
import { Breaker } from './database/index.ts'

/** The Redis that instances share, and whether it can be relied on. */
export interface SharedRedis {
  readonly client: Redis
  /** Whether it answers, and lets this service write. */
  readonly isUp: boolean
  /** It failed, or did not answer in time: finds out whether it still works. */
  suspect(): void
  close(): void
}

/** A request waits no longer than this for Redis. */
const PATIENCE_MS = 100

// Counting writes by a script, which a replica, a Redis with full memory and one of restricted rights refuse.
const PROBE = "return redis.call('set', KEYS[1], '', 'PX', 1000)"

/**
 * Connects to Redis, now and whenever the connection is lost.
 * @param key that the probe writes
 * @param onChange called when it stops working, with the reason, and when it works again, with none
 */
export function openRedis(
  url: string,
  key: string,
  onChange: (fault: Error | undefined) => void,
): SharedRedis {
  const client = new Redis(url, {
    connectTimeout: 1000,
    commandTimeout: 1000,
    socketTimeout: 1000, // also gives up on a server that accepts connections but does not answer
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: (times) => Math.min(times * 200, 1000),
    reconnectOnError: ({ message }) => message.startsWith('READONLY'), // the name may lead to the new primary by now
  })
  const breaker = new Breaker(() => inTime(client.eval(PROBE, 1, key)), onChange)
  client.on('error', () => breaker.suspect())

  return {
    client,
    get isUp() {
      return client.status === 'ready' && !breaker.fault
    },
    suspect: () => breaker.suspect(),
    close() {
      breaker.close()
      client.disconnect()
    },
  }
}

/**
 * Waits for an answer of Redis.
 * @throws Error after 100 ms, unless the answer has come and only this process was too busy to read it
 */
export function inTime<T>(answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = new Error('Redis does not answer in time')
    const timer = setTimeout(() => setImmediate(reject, late), PATIENCE_MS)
    answer.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
