import { isUtf8 } from 'node:buffer'
import fp from 'fastify-plugin'
import { HttpProblem, validationFailed } from '../src/problem.ts'

/** Accepts only JSON bodies in UTF-8: any other Content-Type is 415. */
export default fp(
  async (app) => {
    // Content-Type: application/json with an empty body counts as no body: many clients set the type on every request.
    const parseJson = app.getDefaultJsonParser('error', 'error')
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
      if (body.length === 0) return done(null, undefined)
      if ((request.headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity')
        return done(encoded())
      if (!isUtf8(body)) return done(notJson())
      const text = body.toString()
      parseJson(request, text, (error, value) => (error ? done(refusalOf(text)) : done(null, value)))
    })
  },
  { name: 'json', dependencies: ['errors'] },
)

const notJson = () => new HttpProblem(400, 'malformed_json', 'The body is not valid JSON in UTF-8.')
// RFC 9110, 15.5.16: with the codings that would do.
const encoded = () =>
  new HttpProblem(415, 'unsupported_media_type', 'Send the body without a Content-Encoding.', {
    headers: { 'accept-encoding': 'identity' },
  })

/** Not JSON, or JSON that names a prototype: a field that nothing here knows. */
function refusalOf(text: string): HttpProblem {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return notJson()
  }
  const place = placeOfPrototype(value)
  const msg = place.length > 0 ? 'is unknown' : 'must not have a __proto__ or a prototype'
  return validationFailed([{ loc: ['body', ...place], msg, type: 'additionalProperties' }])
}

const MAX_PLACE = 20
const MAX_VALUES = 100_000

/**
 * Where `__proto__`, or a constructor with a prototype, stands, unless too much stands before it. Without recursion, as
 * the depth is the client's choice.
 */
function placeOfPrototype(body: unknown): string[] {
  const queue: [value: unknown, path: string[]][] = [[body, []]]
  for (const [value, path] of queue) {
    if (typeof value !== 'object' || value === null) continue
    for (const name in value) {
      const child = (value as Record<string, unknown>)[name]
      const isPrototype =
        name === '__proto__' ||
        (name === 'constructor' &&
          typeof child === 'object' &&
          child !== null &&
          Object.hasOwn(child, 'prototype'))
      if (isPrototype) return [...path, name]
      if (queue.length > MAX_VALUES) return []
      queue.push([child, path.length < MAX_PLACE ? [...path, name] : path])
    }
  }
  return []
}
