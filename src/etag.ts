import type { FastifyReply, FastifyRequest } from 'fastify'

// ETag, If-Match and If-None-Match (RFC 9110, 8.8.3 and 13) for rows that have a version, which each change raises.
// Whether If-Match holds is for the statement to say that changes the row: between a look and a change others may come.

/** The row, which is answered with its version as ETag. */
export function withETag<Row extends { version: number }>(row: Row, reply: FastifyReply): Row {
  reply.header('etag', `"${row.version}"`)
  return row
}

/**
 * The versions that an If-Match allows; null if it allows any, or was not sent. A weak tag never matches (RFC 9110,
 * 13.1.1).
 */
export function versionsIn(ifMatch: string | undefined): string[] | null {
  if (ifMatch === undefined || ifMatch === '*') return null
  return [...ifMatch.matchAll(/(W\/)?"([^"]*)"/g)].flatMap(([, weak, tag = '']) => (weak ? [] : [tag]))
}

/** For a GET, an onSend hook: 304 without a body if the client has this version (RFC 9110, 13.1.2). */
export function notModified(
  { headers, method }: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
  done: (error: null, payload: unknown) => void,
): void {
  const known = headers['if-none-match']
  const tag = reply.getHeader('etag')
  if (known === undefined || tag === undefined) return done(null, payload)
  const tags: unknown[] = known.match(/"[^"]*"/g) ?? []
  if (known !== '*' && !tags.includes(tag)) return done(null, payload)
  reply.code(304).removeHeader('content-type')
  done(null, method === 'HEAD' ? payload : null) // Fastify itself drops the body of a HEAD, after this hook
}
