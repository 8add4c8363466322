import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import type { FastifyInstance, RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import { type App, build, identity } from '../helper/app.ts'

interface Schema {
  [keyword: string]: unknown
  examples?: unknown[]
}
interface Operation {
  tags?: string[]
  summary?: string
  operationId?: string
  security?: Record<string, string[]>[]
  parameters?: { name: string; in: string; required?: boolean; schema: Schema }[]
  requestBody?: { content: Record<string, { schema: Schema }> }
  responses: Record<string, { description: string; content?: Record<string, { schema: Schema }> }>
}

const DOCS = /^\/(docs(\/.*)?|openapi\.json)$/

/** The app, and every `METHOD /path` that was registered while it was built. */
async function buildWatched(t: Test) {
  const routes = new Set<string>()
  const onRoute = ({ method, url }: RouteOptions) => {
    for (const verb of [method].flat()) {
      const path = url.replace(/(.)\/$/, '$1').replace(/:(\w+)(\([^/]*\))?/g, '{$1}')
      if (!['HEAD', 'OPTIONS'].includes(verb) && !DOCS.test(path)) routes.add(`${verb} ${path}`)
    }
  }
  const watch = (message: unknown) =>
    (message as { fastify: FastifyInstance }).fastify.addHook('onRoute', onRoute)
  subscribe('fastify.initialization', watch)
  const app = await build(t)
  unsubscribe('fastify.initialization', watch)
  return { app, routes }
}

async function documentOf(app: App) {
  const response = await app.inject('/openapi.json')
  const document = response.json()
  const operations = Object.entries<Record<string, Operation>>(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  )
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  ajv.addFormat('date-time', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  ajv.addFormat('email', /^\S+@\S+$/)
  ajv.addSchema(document, 'document')
  /** Validates by a schema at its place in the document, so that `#/components/…` is found. */
  const compile = (...pointer: string[]) => {
    const escaped = pointer.map((key) => encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1')))
    return ajv.compile({ $ref: `document#/${escaped.join('/')}` })
  }
  return { response, document, operations, compile }
}

t.test('the document is valid OpenAPI 3.1', async (t) => {
  const { response, document } = await documentOf(await build(t))
  t.equal(response.statusCode, 200, 'the document is there')
  t.match(response.headers['content-type'], /^application\/json/, 'it is JSON')
  t.match(document.openapi, /^3\.1\./, 'it is OpenAPI 3.1')
  t.match(await new Validator().validate(document), { valid: true }, 'it is valid')
  const broken = structuredClone(document)
  broken.paths['/todos'].get.responses = 'none'
  t.match(
    await new Validator().validate(broken),
    { valid: false },
    'the validator refuses an invalid document',
  )
  t.same(document, (await build(t)).swagger(), 'the same for each instance')
})

t.test('the document has the registered routes and no others', async (t) => {
  const { app, routes } = await buildWatched(t)
  const { operations } = await documentOf(app)
  t.ok(routes.size > 30, 'routes were registered')
  t.same(
    operations.map(({ method, path }) => `${method} ${path}`).toSorted(),
    [...routes].toSorted(),
    'the same routes on both sides',
  )
})

t.test('DOCS=off removes the documents', async (t) => {
  const app = await build(t, { env: { DOCS: 'off' } })
  for (const url of ['/docs', '/docs/json', '/openapi.json']) {
    const { statusCode, body } = await app.inject(url)
    t.equal(statusCode, 404, `${url} is 404`)
    t.notMatch(body, 'docs', 'and nothing redirects there')
  }
  t.notMatch((await app.inject('/')).body, /docs|openapi/, '/ does not name the documents')
})

t.test('every operation', async (t) => {
  const app = await build(t)
  const { document, operations, compile } = await documentOf(app)
  const tags = document.tags.map(({ name }: { name: string }) => name)

  for (const { method, path, operation } of operations) {
    await t.test(`${method} ${path}`, async (t) => {
      const { summary, parameters = [], requestBody, responses, security } = operation
      t.ok(summary, 'it has a summary')
      t.same(
        operation.tags?.filter((tag) => tags.includes(tag)),
        operation.tags,
        'its tags are declared',
      )
      const alias = /^\/api\/(user\/|tasks|auth\/(me$|sign-))/.test(path)
      t.equal(operation.tags?.includes('aliases') ?? false, alias, 'aliases are tagged, and nothing else is')

      const inPath = parameters.filter((parameter) => parameter.in === 'path')
      t.same(
        inPath.map(({ name }) => `{${name}}`),
        path.match(/\{\w+\}/g) ?? [],
        'its path parameters are documented',
      )
      t.same(
        parameters.filter(({ required }) => required),
        inPath,
        'no other parameter is required',
      )
      const takesBody =
        path === '/me'
          ? method === 'DELETE'
          : ['POST', 'PUT', 'PATCH'].includes(method) && !/sign-?out$/.test(path)
      t.equal(requestBody !== undefined, takesBody, 'a body is documented where one is accepted')

      const statuses = Object.keys(responses)
      t.ok(
        statuses.some((status) => status.startsWith('2')),
        'a success is documented',
      )
      for (const [status, { content }] of Object.entries(responses)) {
        const type = Number(status) < 400 ? 'application/json' : 'application/problem+json'
        t.same(Object.keys(content ?? {}), [type], status)
        t.doesNotThrow(
          () => compile('paths', path, method.toLowerCase(), 'responses', status, 'content', type, 'schema'),
          `${status}: its schema can be compiled`,
        )
      }

      const url = path.replace('{user_id}', 'someone').replace('{id}', '1')
      const { statusCode } = await app.inject({ method: method as 'GET', url })
      const closed = statusCode === 401
      t.same(
        security ?? [],
        closed ? [{ bearer: [] }] : [],
        'a security scheme is documented where a token is needed',
      )
      if (closed) t.ok(statuses.includes('401'), '401 is documented')
    })
  }
  t.match(
    document.components.securitySchemes.bearer,
    { type: 'http', scheme: 'bearer' },
    'the scheme is declared',
  )
  const ids = operations.map(({ operation }) => operation.operationId).filter(Boolean)
  t.equal(new Set(ids).size, ids.length, 'no operationId twice')
})

t.test('answers are as documented', async (t) => {
  const app = await build(t)
  const { document, operations, compile } = await documentOf(app)
  const { id, headers } = await identity()
  /** The body of a request, made of the examples of its fields. */
  const exampleBody = (path: string, method: string): object | undefined => {
    const content = document.paths[path][method.toLowerCase()].requestBody?.content
    const schema = content?.['application/json'].schema
    const { properties } = schema?.$ref
      ? document.components.schemas[schema.$ref.split('/').at(-1)]
      : (schema ?? {})
    const fields = Object.entries<Schema>(properties ?? {}).map(([name, { examples }]) => [
      name,
      examples?.[0],
    ])
    return schema && Object.fromEntries(fields)
  }
  const order = ['POST', 'GET', 'PUT', 'PATCH', 'DELETE']
  const served = operations
    .filter(({ path }) => !path.startsWith('/api/auth/sign') && path !== '/api/auth/refresh')
    .toSorted((a, b) => order.indexOf(a.method) - order.indexOf(b.method))

  for (const { method, path, operation } of served) {
    await t.test(`${method} ${path}`, async (t) => {
      const at = (user: string, id: unknown) => path.replace('{user_id}', user).replace('{id}', String(id))
      const [collection = ''] = path.split('/{id}')
      const payload = path === '/me' ? {} : exampleBody(path, method)
      // What `{id}` stands for is made by a POST to the path before it.
      const made = path.includes('{id}')
        ? await app.inject({
            method: 'POST',
            url: collection.replace('{user_id}', id),
            headers,
            payload: exampleBody(collection, 'POST'),
          })
        : undefined
      const known = made?.json().id
      const url = at(id, known)

      const check = async (request: object, status: string) => {
        const response = await app.inject({ method: method as 'GET', url, headers, payload, ...request })
        t.equal(String(response.statusCode), status, `${method} ${url} is ${status}`)
        const type = String(response.headers['content-type']).split(';')[0] as string
        const place = ['paths', path, method.toLowerCase(), 'responses', status, 'content', type, 'schema']
        const validate = compile(...place)
        t.ok(validate(response.json()), JSON.stringify(validate.errors))
        t.notOk(validate('surely not'), 'the schema refuses something')
      }
      await check({}, method === 'POST' ? '201' : '200')
      if (operation.responses['401']) await check({ headers: {} }, '401')
      if (path.includes('{user_id}')) await check({ url: at('someone', known) }, '403')
      if (path.includes('{id}')) {
        await check({ url: at(id, 999_999) }, '404')
        await check({ url: at(id, 'x') }, '422')
      }
      if (operation.requestBody) {
        const json = { ...headers, 'content-type': 'application/json' }
        await check({ headers: json, payload: '{' }, '400')
        await check({ headers: json, payload: ' '.repeat(1 << 20) }, '413')
        await check({ headers: { ...headers, 'content-type': 'text/plain' }, payload: 'x' }, '415')
        await check({ payload: { colour: 'red' } }, '422')
      }
    })
  }
})

t.test('examples are valid', async (t) => {
  const { document } = await documentOf(await build(t))
  const ajv = new Ajv2020({ strict: false })
  ajv.addFormat('date-time', (text) => !Number.isNaN(Date.parse(text)))
  ajv.addFormat('email', /^\S+@\S+$/)
  ajv.addSchema(document, 'document')
  let count = 0
  const walk = (node: unknown, pointer: string): void => {
    if (typeof node !== 'object' || node === null) return
    const { examples } = node as Schema
    if (Array.isArray(examples)) {
      const validate = ajv.compile({ $ref: `document#${pointer}` })
      for (const example of examples) {
        t.ok(validate(example), `${pointer}: ${JSON.stringify(example)}`)
        count++
      }
    }
    for (const [key, child] of Object.entries(node))
      if (key !== 'examples')
        walk(child, `${pointer}/${encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1'))}`)
  }
  walk(document, '')
  t.ok(count > 20, 'there are examples')
})
