import fp from 'fastify-plugin'
import FindMyWay, { type HTTPMethod } from 'find-my-way'
import { HttpProblem } from '../src/problem.ts'

export interface NotFoundOptions {
  /** The same as for the app's own router. */
  ignoreTrailingSlash: boolean
  /** The same as for the app's own router, in characters. */
  maxParamLength: number
}

// What front ends of older services look for, and where it is.
const INSTEAD: [RegExp, string][] = [
  [/\/(tasks|todos)\/reorder$/, 'Tasks have no order of their own: a list takes sort and order.'],
  [/\/(tasks|todos)\/export$/, 'The export is at /me/export.'],
  [
    /^\/api\/auth\/(sign-(in|up)\/|get-session$|token$)/,
    'It is a path of Better Auth, which is at another address.',
  ],
]

const METHODS: HTTPMethod[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

/** Answers requests that match no route: 405 with Allow if the path has other methods (RFC 9110, 15.5.6), else 404. */
export default fp<NotFoundOptions>(
  async (app, options) => {
    // Fastify asks a QUERY for its Content-Type before it looks for a route.
    app.addHttpMethod('QUERY', { hasBody: false, overrideExisting: true })
    // A second router, without handlers: it knows which methods a path has.
    const router = FindMyWay(options)
    const seen = new Set<string>()
    app.addHook('onRoute', ({ method, url }) => {
      for (const verb of [method].flat()) {
        const route = `${verb} ${url.replace(/(.)\/$/, '$1')}`
        if (verb === 'OPTIONS' || seen.has(route)) continue
        seen.add(route)
        router.on(verb as HTTPMethod, url, () => {})
      }
    })

    app.setNotFoundHandler(async (request, reply) => {
      const [path = '/'] = request.url.split('?', 1)
      const methods = METHODS.filter((method) => router.find(method, path))
      if (methods.length === 0 || methods.includes(request.method as HTTPMethod)) {
        const lists = app.config.DOCS === 'on' ? '/openapi.json lists the paths.' : ''
        const [, instead = lists] = INSTEAD.find(([pattern]) => pattern.test(path.replace(/\/$/, ''))) ?? []
        throw new HttpProblem(404, 'not_found', `There is nothing at this path. ${instead}`.trimEnd())
      }
      const allow = [...methods, 'OPTIONS'].join(', ')
      if (request.method === 'OPTIONS') return reply.code(204).header('allow', allow).send()
      throw new HttpProblem(405, 'method_not_allowed', `This path accepts ${methods.join(', ')}.`, {
        headers: { allow },
      })
    })
  },
  { name: 'not-found', dependencies: ['errors'] },
)
