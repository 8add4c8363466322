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
  interface FastifyRequest {
    /** Milliseconds that it has waited for its turn. */
    waited: number
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
  readonly response: ServerResponse
  start(): void
  refuse(error: Error): void
}

/** The requests of one user. */
interface Requests {
  running: number
  readonly waiting: Waiting[]
}

/** Keeps the requests of one user from crowding out others, and their unread answers from filling the memory. */
export default fp(
  async (app) => {
    const users = new Map<string, Requests>()
    // One timer for all: one for each would keep each request in memory for as long. It also forgets users: when
    // each last request did, and those that ran were in a Set, more was kept until the next full garbage collection.
    const watch = setInterval(() => {
      for (const [id, { running, waiting }] of users) {
        refuseLate(waiting)
        if (running === 0 && waiting.length === 0) users.delete(id)
      }
    }, WATCH_MS).unref()
    app.addHook('onClose', async () => clearInterval(watch))

    app.decorateRequest('waited', 0)
    app.decorate('limitConcurrency', async (request, { raw: response }) => {
      const { id } = request.user
      if (response.destroyed) return new Promise(() => {}) // its client has gone: it never runs
      let requests = users.get(id)
      if (!requests) users.set(id, (requests = { running: 0, waiting: [] }))
      const { running, waiting } = requests
      if (waiting.length >= WAITING) throw tooManyAtOnce()
      if (running < AT_ONCE && waiting.length === 0) run(requests, response)
      else {
        const came = performance.now()
        await turn(requests, response)
        request.waited = performance.now() - came
      }
    })
  },
  { name: 'concurrency' },
)

function run(requests: Requests, response: ServerResponse): void {
  requests.running += 1
  response.once('close', () => {
    requests.running -= 1
    // After the other events that have come: their clients may have gone as well.
    if (requests.waiting.length > 0) setImmediate(startNext, requests)
  })
}

function startNext(requests: Requests): void {
  while (requests.running < AT_ONCE) {
    const next = requests.waiting.shift()
    if (!next) return
    run(requests, next.response)
    next.start()
  }
}

function refuseLate(waiting: Waiting[]): void {
  const latest = performance.now() - WAIT_MS
  // They are in order of arrival.
  while (waiting[0] && waiting[0].since <= latest)
    waiting
      .shift()
      ?.refuse(unavailable('busy', 'Earlier requests of yours take too long. Try again shortly.'))
}

/** Waits until one that runs has ended. */
function turn({ waiting }: Requests, response: ServerResponse): Promise<void> {
  return new Promise((start, refuse) => {
    const mine = { since: performance.now(), response, start, refuse }
    waiting.push(mine)
    response.once('close', () => {
      const place = waiting.indexOf(mine)
      if (place >= 0) waiting.splice(place, 1)
    })
  })
}
