import type { ServerResponse } from 'node:http'
import type { onRequestAsyncHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { tooManyAtOnce, unavailable } from '../src/problem.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Lets a few requests of `request.user` run at once, until their answers are sent; the others wait, in order of
     * arrival. Throws 429 if too many wait, and 503 if one waits for too long.
     */
    limitConcurrency: onRequestAsyncHookHandler
  }
}

// Browsers open six connections to a host; a server that renders pages for a user may open dozens.
const AT_ONCE = 8
const WAITING = 100
const WAIT_MS = 3_000
const WATCH_MS = 100

/** A request that waits for its turn. */
interface Waiting {
  readonly since: number
  start(): void
  refuse(error: Error): void
}

/** The requests of one user. */
interface Requests {
  readonly running: Set<ServerResponse>
  readonly waiting: Map<ServerResponse, Waiting>
}

/** Keeps the requests of one user from crowding out others, and their unread answers from filling the memory. */
export default fp(
  async (app) => {
    const users = new Map<string, Requests>()
    // One timer for all: one for each would keep each request in memory for as long.
    const watch = setInterval(() => {
      for (const { waiting } of users.values()) refuseLate(waiting)
    }, WATCH_MS).unref()
    app.addHook('onClose', async () => clearInterval(watch))

    app.decorate('limitConcurrency', async ({ user: { id } }, { raw: response }) => {
      if (response.destroyed) return new Promise(() => {}) // its client has gone: it never runs
      const requests = users.get(id) ?? { running: new Set(), waiting: new Map() }
      const { running, waiting } = requests
      if (waiting.size >= WAITING) throw tooManyAtOnce()
      users.set(id, requests)
      response.once('close', () => {
        // After the other events that have come: their clients may have gone as well.
        if (running.delete(response) && waiting.size > 0) setImmediate(startNext, requests)
        waiting.delete(response)
        // One that was refused may close when the others are long gone, and new ones have come.
        if (running.size === 0 && waiting.size === 0 && users.get(id) === requests) users.delete(id)
      })
      if (running.size < AT_ONCE && waiting.size === 0) running.add(response)
      else await turn(requests, response)
    })
  },
  { name: 'concurrency' },
)

function startNext({ running, waiting }: Requests): void {
  for (const [response, { start }] of waiting) {
    if (running.size >= AT_ONCE) return
    waiting.delete(response)
    running.add(response)
    start()
  }
}

function refuseLate(waiting: Requests['waiting']): void {
  const latest = performance.now() - WAIT_MS
  for (const [response, { since, refuse }] of waiting) {
    if (since > latest) return // they are in order of arrival
    waiting.delete(response)
    refuse(unavailable('busy', 'Earlier requests of yours take too long. Try again shortly.'))
  }
}

/** Waits until one that runs has ended. */
function turn({ waiting }: Requests, response: ServerResponse): Promise<void> {
  return new Promise((start, refuse) => {
    waiting.set(response, { since: performance.now(), start, refuse })
  })
}
