import { basename } from 'node:path/posix'
import { pipeline, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { createGzip, gzip } from 'node:zlib'
import { negotiate } from '@fastify/accept-negotiator'
import type { FastifyReply, FastifyRequest, onSendAsyncHookHandler, onSendHookHandler } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** A route's onSend that compresses streams, and texts from 16 KB on, for clients that accept gzip. */
    gzip: onSendHookHandler
    /** The same for answers that stay as they are while the process runs: each is compressed once. */
    gzipOnce: onSendAsyncHookHandler
  }
}

const MIN_LENGTH = 16 * 1024
const FASTEST = { level: 1 }
const SMALLEST = { level: 9 }

const compress = promisify(gzip)

/** Compresses the answers of routes that ask for it: most are short, and would pay for a hook on all routes. */
export default fp(
  async (app) => {
    app.decorate('gzip', (request, reply, payload, done) => {
      const isText = typeof payload === 'string'
      const isLong = isText ? payload.length >= MIN_LENGTH : payload instanceof Readable
      if (!isLong || !negotiated(request, reply)) return done()
      if (isText) return void compress(payload, FASTEST).then((compressed) => done(null, compressed), done)
      const compressed = createGzip(FASTEST)
      // Fastify handles the error of the last stream, which is that of any before it.
      pipeline(payload as Readable, compressed, () => {})
      done(null, compressed)
    })

    const known = new Map<string, Promise<Buffer>>()
    app.decorate('gzipOnce', async (request, reply, payload) => {
      const isFile = payload instanceof Readable
      const length = isFile ? Number(reply.getHeader('content-length')) : String(payload ?? '').length
      if (reply.statusCode !== 200 || length < MIN_LENGTH || !negotiated(request, reply)) return payload

      const name = nameOf(request)
      if (isFile && request.method === 'HEAD') {
        const compressed = await known.get(name)
        if (compressed) reply.header('content-length', compressed.length)
        return payload
      }
      const before = known.get(name)
      if (isFile && before) payload.destroy()
      const compressing = before ?? gzipWhole(payload as string | Readable)
      known.set(name, compressing)
      return compressing.catch((error) => {
        known.delete(name)
        throw error
      })
    })

    // The problem that is sent instead of an answer is not compressed.
    app.addHook('onError', (_request, reply, _error, done) => {
      reply.removeHeader('content-encoding')
      done()
    })
  },
  { name: 'compress' },
)

/** Says that the answer depends on Accept-Encoding (RFC 9110, 12.5.3), and whether it is to be compressed. */
function negotiated({ headers }: FastifyRequest, reply: FastifyReply): boolean {
  if (reply.hasHeader('content-encoding')) return false
  reply.header('vary', [reply.getHeader('vary'), 'Accept-Encoding'].flat().filter(Boolean).join(', '))
  const accepted = (headers['accept-encoding'] ?? '').toString().toLowerCase()
  // In this order `*` means identity: "gzip;q=0, *" asks for anything but gzip.
  if (negotiate(accepted, ['identity', 'gzip']) !== 'gzip') return false
  reply.header('content-encoding', 'gzip')
  reply.removeHeader('content-length')
  return true
}

/** The same name however a path spells it, so that there are no more names than answers. */
function nameOf({ params, routeOptions }: FastifyRequest): string {
  const { '*': file } = params as { '*'?: string }
  return basename(file ?? routeOptions.url ?? '')
}

async function gzipWhole(payload: string | Readable): Promise<Buffer> {
  return compress(typeof payload === 'string' ? payload : await buffer(payload), SMALLEST)
}
