import type { Socket } from 'node:net'
import fp from 'fastify-plugin'
import { tooManyAtOnce } from '../src/problem.ts'

// Pipelined requests that wait on one connection.
const WAITING = 100
// The kernel takes megabytes for a slow reader, and then says nothing for many seconds while they are read.
const UNREAD_MS = 60_000

/** Bounds what the client of one connection can keep in memory by not reading its answers. */
export default fp(
  async (app) => {
    // Nothing moves on a socket while the database is asked, so the bound is beyond that. If anything has moved since it
    // last looked, Node.js waits as long once more.
    app.server.setTimeout(UNREAD_MS + app.config.DATABASE_TIMEOUT)

    // Node.js hands over pipelined requests as they arrive, and keeps each answer until those before it have been read.
    // So each request waits for its turn to write: the event 'socket' of its response.
    const waiting = new WeakMap<Socket, number>()
    const count = (socket: Socket, change: number) => waiting.set(socket, (waiting.get(socket) ?? 0) + change)
    app.addHook('onRequest', ({ raw: { socket } }, { raw: response }, done) => {
      if (response.socket) return done()
      if ((waiting.get(socket) ?? 0) >= WAITING) return done(tooManyAtOnce())
      count(socket, 1)
      response.once('socket', () => {
        count(socket, -1)
        setImmediate(done)
      })
    })
  },
  { name: 'connections', dependencies: ['env', 'cors'] },
)
