import { isUtf8 } from 'node:buffer'
import fp from 'fastify-plugin'
import { HttpProblem } from '../src/problem.ts'

/** Accepts only JSON bodies in UTF-8: any other Content-Type is 415. */
export default fp(
  async (app) => {
    // Content-Type: application/json with an empty body counts as no body: many clients set the type on every request.
    const parseJson = app.getDefaultJsonParser('error', 'error')
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
      if (body.length === 0) return done(null, undefined)
      if (!isUtf8(body)) return done(notJson())
      parseJson(request, body.toString(), (error, value) => (error ? done(notJson()) : done(null, value)))
    })
  },
  { name: 'json', dependencies: ['errors'] },
)

const notJson = () => new HttpProblem(400, 'malformed_json', 'The body is not valid JSON in UTF-8.')
