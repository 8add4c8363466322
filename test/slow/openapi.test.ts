import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readdirSync, readFileSync } from 'node:fs'
import { createConfig, lintFromString } from '@redocly/openapi-core'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import type { FastifyInstance, RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import { CODES, type Problem } from '../../schemas/problem.ts'
import { type App, build, identity } from '../helper/app.ts'

interface Schema {
  [keyword: string]: unknown
  examples?: unknown[]
  $ref?: string
  properties?: Record<string, Schema>
}
interface Operation {
  tags?: string[]
  summary?: string
  operationId?: string
  security?: Record<string, string[]>[]
  parameters?: { name: string; in: string; required?: boolean; schema: Schema }[]
  deprecated?: boolean
  requestBody?: { required: boolean; content: Record<string, { schema: Schema }> }
  responses: Record<string, Response>
}
interface Response {
  $ref?: string
  description: string
  headers?: Record<string, { $ref?: string }>
  content: Record<string, { schema: Schema; examples?: Record<string, { value: Problem }> }>
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
  ajv.addFormat('text', true)
  ajv.addFormat('line', true)
  ajv.addFormat('tag', true)
  ajv.addFormat('instant', true)
  ajv.addSchema(document, 'document')
  /** A response, wherever it is written. */
  const responseOf = ({ responses }: Operation, status: string): Response => {
    const [, name] = responses[status]?.$ref?.split('#/components/responses/') ?? []
    return name ? document.components.responses[name] : (responses[status] as Response)
  }
  /** Validates by a schema at its place in the document, so that `#/components/…` is found. */
  const compile = (...pointer: string[]) => {
    const escaped = pointer.map((key) => encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1')))
    return ajv.compile({ $ref: `document#/${escaped.join('/')}` })
  }
  /** What a reader of the document would send first. */
  const exampleOf = (operation?: Operation): object | undefined => {
    let schema = operation?.requestBody?.content['application/json']?.schema
    const [, name] = schema?.$ref?.split('#/components/schemas/') ?? []
    if (name) schema = document.components.schemas[name]
    const properties = Object.entries(schema?.properties ?? {})
    return (schema?.examples?.[0] ??
      (schema && Object.fromEntries(properties.map(([key, { examples }]) => [key, examples?.[0]])))) as object
  }
  return { response, document, operations, compile, responseOf, exampleOf }
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

t.test("it keeps Redocly's recommended rules", async (t) => {
  const config = await createConfig({ extends: ['recommended'] })
  const findings = async (document: object) => {
    const problems = await lintFromString({ source: JSON.stringify(document), config })
    return problems
      .filter(({ ruleId }) => ruleId !== 'no-ambiguous-paths') // older front ends call both of each pair
      .map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer}`)
  }
  const { document } = await documentOf(await build(t))
  t.same(await findings(document), [], 'no error, no warning')
  const { servers: _, ...broken } = document
  t.match(await findings(broken), [/^no-empty-servers/], 'and the rules are applied')
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
    t.notMatch(body, /docs|openapi/, 'and nothing leads there')
  }
  t.notMatch((await app.inject('/')).body, /docs|openapi/, '/ does not name the documents')
})

t.test('every operation', async (t) => {
  const app = await build(t)
  const { document, operations, compile, responseOf } = await documentOf(app)
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
      const alias =
        /^\/(tasks|v1|api\/(user\/|tasks|todos|v1\/|auth\/(me$|sign-|register$|login$|logout$)))/.test(
          path,
        ) ||
        /\/(statistics|status)$|^\/api\/[^/]+\/stats$/.test(path) ||
        (method === 'POST' && /\/(toggle|complete)$/.test(path))
      t.equal(operation.tags?.includes('aliases') ?? false, alias, 'aliases are tagged, and nothing else is')
      t.equal(operation.deprecated ?? false, alias, 'aliases are deprecated, and nothing else is')

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
          : ['POST', 'PUT', 'PATCH'].includes(method) && !/(sign-?out|logout)$/.test(path)
      t.equal(requestBody !== undefined, takesBody, 'a body is documented where one is accepted')

      const statuses = Object.keys(responses)
      t.ok(
        statuses.some((status) => status.startsWith('2')),
        'a success is documented',
      )
      for (const status of statuses) {
        const { content = {}, headers = {} } = responseOf(operation, status)
        const failed = Number(status) >= 400
        const type = failed ? 'application/problem+json' : 'application/json'
        t.same(Object.keys(content), status === '304' ? [] : [type], status)
        t.equal(responses[status]?.$ref !== undefined, failed, `${status}: failures are shared`)
        t.ok('X-Request-Id' in headers, `${status}: X-Request-Id is documented`)
        t.equal('Retry-After' in headers, ['429', '503'].includes(status), `${status}: Retry-After`)
        t.equal(
          !failed && 'RateLimit-Limit' in headers,
          !failed && statuses.includes('429'),
          `${status}: RateLimit-*`,
        )
        for (const { code } of Object.values(content[type]?.examples ?? {}).map(({ value }) => value))
          t.equal(String(CODES[code]?.[0]), status, `${status}: its example ${code} is one`)
        if (failed) t.ok(content[type]?.examples, `${status}: it has examples`)
        else if (status !== '304')
          t.doesNotThrow(
            () =>
              compile('paths', path, method.toLowerCase(), 'responses', status, 'content', type, 'schema'),
            `${status}: its schema can be compiled`,
          )
      }

      const url = path.replace('{user_id}', 'someone').replace('{id}', '1')
      const { statusCode } = await app.inject({ method: method as 'GET', url })
      const closed = statusCode === 401
      t.same(
        security,
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
  const ids = operations.map(({ operation }) => operation.operationId)
  t.ok(
    ids.every((id) => /^[a-z][A-Za-z]+$/.test(String(id))),
    'every operation has an id that is a name',
  )
  t.equal(new Set(ids).size, ids.length, 'no operationId twice')
  const at = (path: string) =>
    operations.filter((operation) => operation.path.startsWith(path)).map(({ operation }) => operation)
  t.same(
    at('/todos').map(({ operationId }) => operationId),
    [
      'listTasks',
      'createTask',
      'updateTasks',
      'deleteTasks',
      'getTaskStats',
      'getTaskStatistics',
      'getTask',
      'updateTask',
      'replaceTask',
      'deleteTask',
      'setTaskStatus',
      'toggleTask',
      'toggleTaskByPost',
      'completeTask',
      'completeTaskByPost',
      'createTasks',
    ],
    'the ids of the tasks',
  )
  const paths = Object.keys(document.paths)
  t.ok(paths.indexOf('/todos') < paths.indexOf('/api/{user_id}/tasks'), '/todos comes first')
  for (const { parameters = [] } of at('/api/{user_id}')) {
    const [owner] = parameters.filter(({ name }) => name === 'user_id')
    t.notMatch(JSON.stringify(owner), 'example', 'no example of a user id: it would be refused')
  }
  t.same(document.servers?.[0]?.url, '/', 'the server is the one that the document comes from')
})

t.test('answers are as documented', async (t) => {
  const app = await build(t)
  const { operations, compile, responseOf, exampleOf } = await documentOf(app)
  const { id, headers } = await identity()
  const order = ['POST', 'GET', 'PUT', 'PATCH', 'DELETE']
  const served = operations
    .filter(({ path }) => !path.startsWith('/api/auth/') || path === '/api/auth/me')
    .toSorted((a, b) => order.indexOf(a.method) - order.indexOf(b.method))

  for (const { method, path, operation } of served) {
    await t.test(`${method} ${path}`, async (t) => {
      const at = (user: string, made: unknown) =>
        path.replace('{user_id}', user).replace('{id}', String(made))
      // The resource that an id is of is made at the path before it.
      const [collection = ''] = at(id, '{id}').split('/{id}')
      const maker = operations.find(
        (other) => other.method === 'POST' && other.path === path.split('/{id}')[0],
      )
      const { id: made } = path.includes('{id}')
        ? (
            await app.inject({
              method: 'POST',
              url: collection,
              headers,
              payload: exampleOf(maker?.operation),
            })
          ).json()
        : { id: undefined }
      // What several tasks are changed by must be chosen.
      const takesSelection = ['PATCH', 'DELETE'].includes(method) && /\/(tasks|todos)$/.test(path)
      const query = takesSelection ? '?completed=false' : ''
      const url = at(id, made) + query
      const payload = exampleOf(operation)

      const check = async (request: object, status: string) => {
        const response = await app.inject({ method: method as 'GET', url, headers, payload, ...request })
        t.equal(String(response.statusCode), status, `${method} ${url} is ${status}`)
        const type = String(response.headers['content-type']).split(';')[0] as string
        const place = ['paths', path, method.toLowerCase(), 'responses', status, 'content', type, 'schema']
        t.ok(responseOf(operation, status)?.content[type], `${status} is documented`)
        const validate =
          Number(status) >= 400 ? compile('components', 'schemas', 'Problem') : compile(...place)
        t.ok(validate(response.json()), JSON.stringify(validate.errors))
        t.notOk(validate('surely not'), 'the schema refuses something')
      }
      await check({}, operation.responses['201'] ? '201' : '200')
      if (operation.responses['401']) await check({ headers: {} }, '401')
      if (path.includes('{user_id}')) await check({ url: at('someone', made) }, '403')
      if (path.includes('{id}')) {
        await check({ url: at(id, 999_999) }, '404')
        await check({ url: at(id, 0) }, '422')
        await check({ url: at(id, '1'.repeat(3000)) }, '414')
      }
      await check({ url: `${url}${query ? '&' : '?'}colour=red` }, '422')
      if (method !== 'GET' && !operation.requestBody) {
        await check({ headers: { ...headers, 'content-type': 'text/plain' }, payload: 'x' }, '415')
      }
      if (operation.requestBody) {
        const json = { ...headers, 'content-type': 'application/json' }
        await check({ headers: json, payload: '{' }, '400')
        await check(
          { headers: json, payload: ' '.repeat(path.endsWith('/bulk') ? 4 << 20 : 64 << 10) + ' ' },
          '413',
        )
        await check({ headers: { ...headers, 'content-type': 'text/plain' }, payload: 'x' }, '415')
        await check({ payload: { colour: 'red' } }, '422')
        const { statusCode } = await app.inject({ method: method as 'GET', url, headers })
        t.equal(statusCode === 422, operation.requestBody.required, 'the body is required where it says so')
      }
    })
  }
})

t.test('examples are valid', async (t) => {
  const { document } = await documentOf(await build(t))
  const ajv = new Ajv2020({ strict: false })
  ajv.addFormat('date-time', (text) => !Number.isNaN(Date.parse(text)))
  ajv.addFormat('email', /^\S+@\S+$/)
  ajv.addFormat('text', true)
  ajv.addFormat('line', true)
  ajv.addFormat('tag', true)
  ajv.addFormat('instant', true)
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

t.test('examples of failures are what is sent', async (t) => {
  const { document, compile } = await documentOf(await build(t))
  const validate = compile('components', 'schemas', 'Problem')
  const codes = document.components.schemas.Problem.properties.code.enum
  for (const [name, { content }] of Object.entries<Response>(document.components.responses)) {
    for (const [key, { value }] of Object.entries(content['application/problem+json']?.examples ?? {})) {
      const code = key.replace(/_\d$/, '')
      t.ok(codes.includes(code), `${name}: ${code} is listed`)
      t.equal(value.code, code, `${key}: the example has the code`)
      t.ok(validate(value), `${key}: the example is valid ${JSON.stringify(validate.errors)}`)
    }
  }
})

t.test('every code in the source is listed with its status, and no other', async (t) => {
  const IMPLIED: Record<string, number> = { unavailable: 503, unauthorized: 401, refused: 401 }
  const used: Record<string, number> = { bad_request: 400 } // of whatever status Fastify gives
  const busy = new Set<string>()
  for (const folder of ['src', 'plugins', 'routes']) {
    for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts')) continue
      const text = readFileSync(`${folder}/${file}`, 'utf8')
      for (const [, detail = ''] of text.matchAll(/'busy',\s*'(.+?)'/g)) busy.add(detail)
      const calls = text.matchAll(
        /(?:\b(HttpProblem|unavailable|unauthorized|refused)\(|\[)\s*(?:(\d{3}),\s*)?'([a-z]+(?:_[a-z]+)*)'/g,
      )
      for (const [, call = '', status, code = ''] of calls) {
        if (status || IMPLIED[call]) used[code] = Number(status ?? IMPLIED[call])
      }
    }
  }
  t.same(used, Object.fromEntries(Object.entries(CODES).map(([code, [status]]) => [code, status])))
  t.same([...busy].toSorted(), CODES.busy?.slice(1), 'with each thing that busy may mean')
})

t.test('patterns work without the flag u, and in Python', async (t) => {
  const { document } = await documentOf(await build(t))
  const patterns: string[] = []
  JSON.stringify(document, (key, value) => {
    if (key === 'pattern') patterns.push(value)
    return value
  })
  t.ok(patterns.length > 0, 'there are patterns')
  for (const pattern of patterns) t.notMatch(pattern, /\\[pPu]|\\x\{/, pattern)
  const { title } = document.components.schemas.NewTask.properties
  t.ok(new RegExp(title.pattern).test('pick up milk'), 'an ordinary title passes without the flag')
})
