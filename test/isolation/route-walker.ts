import { randomUUID } from 'node:crypto'
import type { InjectOptions, LightMyRequestResponse as Response } from 'fastify'

/** Somebody who can sign in. */
export interface Walker {
  /** The user id in the token. */
  id: string
  headers: Record<string, string>
}

export interface WalkOptions {
  app: { inject(options: InjectOptions): Promise<Response> }
  /** The OpenAPI document. It is the only list of routes, so that a route added later is walked too. */
  document: { paths?: object; components?: object }
  /** The user to protect. The walk creates rows as this user, through every documented POST. */
  owner: Walker
  /** The user who tries to reach those rows. */
  stranger: Walker
  /** Reads the owner's rows, to prove that nothing changed; default: everything the owner can read. */
  checksum?: () => Promise<string>
  /** Stops after the operation that reaches this many findings. Default: never. */
  enough?: number
}

export interface Walk {
  /** `METHOD path` of each operation. */
  operations: string[]
  attempts: number
  /** What got through, one sentence each. It should be empty. */
  findings: string[]
}

interface Schema {
  $ref?: string
  type?: string | string[]
  format?: string
  enum?: unknown[]
  examples?: unknown[]
  items?: Schema
  properties?: Record<string, Schema>
  required?: string[]
}

interface Operation {
  method: string
  path: string
  body?: Schema
  /** Path parameters, except those that name the user. */
  ids: string[]
  /** Each documented query parameter that is chosen from a list, with each of its values and order; and none. */
  queries: string[]
  /** Whether the query can name ids. */
  namesIds: boolean
  /** Whether it is another path of the same handler. */
  isAlias: boolean
}

type Value = string | number

// Headers in which a service that trusts its callers might look for an id.
const FIELDS = ['id', 'user_id', 'userId', 'task_id', 'owner', 'sub']
const HEADERS = [
  'x-user-id',
  'x-user',
  'x-forwarded-user',
  'x-task-id',
  'x-id',
  'x-original-url',
  'prefer',
  'if-match',
  'if-none-match',
  'idempotency-key',
]
const USER_PARAMETER = /^(user_?id|owner_?id)$/i
const NEVER: Value = Number.MAX_SAFE_INTEGER

/**
 * Walks every documented route and method as a stranger, with the owner's ids in every place an id can go, and
 * compares each answer with the one for an id that never existed: it must be the same to the byte, contain nothing of
 * the owner's, and change nothing of the owner's.
 */
export async function walkRoutes({
  app,
  document,
  owner,
  stranger,
  checksum,
  enough = Infinity,
}: WalkOptions): Promise<Walk> {
  const operations = operationsOf(document)
  const mark = `mark-${randomUUID()}`
  const findings: string[] = []
  let attempts = 0

  const before = await readAll(stranger)
  const ids = await seed()
  const after = await readAll(stranger)
  for (const [at, answer] of after) {
    if (answer !== before.get(at)) findings.push(`${at}: the owner's new rows change what the stranger reads`)
  }

  const snapshot = checksum ?? (async () => JSON.stringify([...(await readAll(owner, true))]))
  let owned = await snapshot()
  for (const operation of operations) {
    for (const [what, make] of attemptsOn(operation))
      await attempt(`${operation.method} ${operation.path} ${what}`, make)
    const now = await snapshot()
    if (now !== owned) findings.push(`${operation.method} ${operation.path}: the owner's rows changed`)
    owned = now
    if (findings.length >= enough) break
  }
  return { operations: operations.map(({ method, path }) => `${method} ${path}`), attempts, findings }

  async function attempt(what: string, make: (id: Value, userId: string) => InjectOptions): Promise<void> {
    attempts += 1
    const real = await send(stranger, make(ids(what), owner.id))
    const never = await send(stranger, make(NEVER, `never-${owner.id.slice(6)}`))
    const answer = JSON.stringify(real.headers) + real.body
    if (answer.includes(mark) || answer.includes(owner.id))
      findings.push(`${what}: the answer contains data of the owner`)
    if (real.statusCode !== never.statusCode) {
      findings.push(`${what}: ${real.statusCode}, but ${never.statusCode} for an id that never existed`)
    } else if (real.statusCode >= 400 && real.body !== never.body) {
      findings.push(`${what}: not the same bytes as for an id that never existed`)
    } else if (real.statusCode >= 500) {
      findings.push(`${what}: ${real.statusCode}`)
    }
  }

  function send({ headers }: Walker, options: InjectOptions): Promise<Response> {
    // The request id is part of the bytes that are compared.
    return app.inject({ ...options, headers: { ...headers, 'x-request-id': 'walk', ...options.headers } })
  }

  /** What a user reads at every path that needs no id but their own; once is all of it once. */
  async function readAll(walker: Walker, once = false): Promise<Map<string, string>> {
    const answers = new Map<string, string>()
    for (const { method, path, ids, queries, isAlias } of operations) {
      if (method !== 'GET' || ids.length > 0 || (isAlias && once)) continue
      for (const query of once ? [''] : queries) {
        const { statusCode, headers, body } = await send(walker, {
          url: fill(path, NEVER, walker.id) + query,
        })
        answers.set(`GET ${path}${query}`, `${statusCode} ${headers['x-total-count'] ?? ''} ${body}`)
      }
    }
    return answers
  }

  /** Creates rows as the owner; returns which id fits an operation: that of the nearest POST above it. */
  async function seed(): Promise<(at: string) => Value> {
    const made: [path: string, id: Value][] = []
    for (const { method, path, body, ids } of operations) {
      if (method !== 'POST' || !body || ids.length > 0) continue
      const payload = exampleOf(body) as object
      const response = await send(owner, { method, url: fill(path, NEVER, owner.id), payload })
      const id = response.statusCode === 201 ? response.json().id : undefined
      if (id !== undefined) made.push([path, id])
    }
    if (made.length === 0)
      throw new Error('No documented POST created a row with an id: there is nothing to look for')
    const nearest = made.toSorted(([a], [b]) => b.length - a.length)
    return (at) => (nearest.find(([path]) => at.includes(` ${path}/`)) ?? made[0])?.[1] as Value
  }

  function* attemptsOn(
    operation: Operation,
  ): Generator<[string, (id: Value, userId: string) => InjectOptions]> {
    const { method, path, body, queries, namesIds } = operation
    const make = () => (body ? (exampleOf(body, '') as Record<string, unknown>) : undefined)
    const payload = make()
    // Built for each request, because unique values may occur only once.
    const base = {
      method,
      get payload() {
        return make()
      },
    } as InjectOptions
    const at = (id: unknown, userId: unknown = stranger.id) => fill(path, String(id), String(userId))

    if (operation.ids.length > 0) {
      for (const [form, spell] of SPELLINGS) {
        yield [`path id ${form}`, (id) => ({ ...base, url: at(spell(id)) })]
      }
      yield ['path id, no body', (id) => ({ method, url: at(id) }) as InjectOptions]
    }
    if (path !== fill(path, '{id}', '')) {
      for (const [form, spell] of SPELLINGS) {
        yield [`path user ${form}`, (id, userId) => ({ ...base, url: at(id, spell(userId)) })]
      }
    }
    if (namesIds) {
      for (const [form, spell] of SPELLINGS)
        yield [
          `query ids ${form}`,
          (id) => ({ ...base, url: `${at(NEVER)}?ids=${encodeURIComponent(spell(id))}` }),
        ]
    }
    // What a GET answers to them is compared before and after.
    for (const query of queries.filter((query) => method !== 'GET' && !query.includes('&')))
      yield [`query ${query}`, () => ({ ...base, url: at(NEVER) + query })]
    for (const name of FIELDS) {
      for (const [form, spell] of SPELLINGS.slice(0, 4)) {
        const of = (id: Value, userId: string) => spell(/user|owner|sub/i.test(name) ? userId : id)
        yield [
          `query ${name} ${form}`,
          (id, user) => ({ ...base, url: at(NEVER), query: { [name]: of(id, user) } }),
        ]
        if (!payload) continue
        yield [
          `body ${name} ${form}`,
          (id, user) => ({ ...base, url: at(NEVER), payload: { ...make(), [name]: of(id, user) } }),
        ]
      }
      if (payload) {
        yield [
          `body ${name} number`,
          (id, user) => ({
            ...base,
            url: at(NEVER),
            payload: { ...make(), [name]: name === 'id' ? id : user },
          }),
        ]
        yield [
          `body ${name} nested`,
          (id, user) => ({ ...base, url: at(NEVER), payload: { ...make(), where: { [name]: id, user } } }),
        ]
      }
    }
    if (payload)
      yield [
        'body list',
        (id, userId) => ({ ...base, url: at(NEVER), payload: [{ ...make(), id, user_id: userId }] }),
      ]
    for (const name of HEADERS) {
      yield [
        `header ${name} user`,
        (_id, userId) => ({ ...base, url: at(NEVER), headers: { [name]: userId } }),
      ]
      yield [`header ${name} id`, (id) => ({ ...base, url: at(NEVER), headers: { [name]: String(id) } })]
    }
  }

  function exampleOf(schema: Schema, suffix = ` ${mark}`): unknown {
    const { type, format, enum: choices, examples, items, properties = {} } = resolve(schema)
    if (type === 'array' && items?.$ref) return [exampleOf(items, suffix)]
    if (type === 'object') {
      return Object.fromEntries(
        Object.entries(properties).map(([name, value]) => [name, exampleOf(value, suffix)]),
      )
    }
    const example = examples?.[0] ?? (type === 'integer' || type === 'number' ? 1 : 'example')
    if (format === 'email') return `${randomUUID()}@example.com`
    const isFree = !choices && (format === undefined || ['text', 'line', 'tag'].includes(format))
    return typeof example === 'string' && isFree ? example + suffix : example
  }

  function resolve(schema: Schema): Schema {
    if (!schema.$ref) return schema
    const path = schema.$ref.replace('#/', '').split('/')
    return path.reduce<Record<string, unknown>>(
      (node, name) => node[name] as never,
      document as never,
    ) as Schema
  }
}

/** Ways to write an id that a careless parser might accept. */
const SPELLINGS: [form: string, spell: (id: Value) => string][] = [
  ['plain', String],
  ['list', (id) => `${id},${id}`],
  ['brackets', (id) => `[${id}]`],
  ['trailing text', (id) => `${id}abc`],
  ['trailing space', (id) => `${id} `],
  ['leading space', (id) => ` ${id}`],
  ['leading zero', (id) => `0${id}`],
  ['plus', (id) => `+${id}`],
  ['negative', (id) => `-${id}`],
  ['decimal', (id) => `${id}.0`],
  ['exponent', (id) => `${id}e0`],
  ['NUL', (id) => `${id}\0`],
  ['quote', (id) => `${id}' or '1'='1`],
  ['dot segment', (id) => `./${id}`],
  ['upper case', (id) => String(id).toUpperCase()],
  ['wide', (id) => String(id).replaceAll(/\d/g, (digit) => String.fromCodePoint(0xff10 + Number(digit)))],
  ['2^63', () => '9223372036854775808'],
]

function fill(path: string, id: Value, userId: string): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name) =>
    encodeURIComponent(USER_PARAMETER.test(name) ? userId : id),
  )
}

interface DocumentedOperation {
  tags?: string[]
  requestBody?: { content?: Record<string, { schema?: Schema }> }
  parameters?: { in: string; name: string; schema?: Schema }[]
}

function operationsOf({ paths = {} }: WalkOptions['document']): Operation[] {
  return Object.entries(paths as Record<string, Record<string, DocumentedOperation>>).flatMap(
    ([path, methods]) =>
      Object.entries(methods).map(([method, { requestBody, parameters = [], tags = [] }]) => ({
        method: method.toUpperCase(),
        path,
        body: requestBody?.content?.['application/json']?.schema,
        ids: [...path.matchAll(/\{(\w+)\}/g)]
          .map(([, name]) => name as string)
          .filter((name) => !USER_PARAMETER.test(name)),
        queries: ['', ...queriesOf(parameters.filter((parameter) => parameter.in === 'query'))],
        namesIds: parameters.some((parameter) => parameter.in === 'query' && parameter.name === 'ids'),
        isAlias: tags.includes('aliases'),
      })),
  )
}

type Parameter = NonNullable<DocumentedOperation['parameters']>[number]

/** Each parameter that is chosen from a list, with each of its values, and in each order. */
function queriesOf(parameters: Parameter[]): string[] {
  const all = parameters.map(({ name, schema: { type, enum: choices = [] } = {} }) => ({
    name,
    pairs: (type === 'boolean' ? [true, false] : choices).map(
      (value) => `${name}=${encodeURIComponent(String(value))}`,
    ),
  }))
  const orders = all.find(({ name }) => name === 'order')?.pairs ?? []
  return all
    .flatMap(({ pairs }) => pairs)
    .flatMap((pair) => [pair, ...orders.map((order) => `${pair}&${order}`)])
    .filter((pair) => new Set(pair.match(/\w+(?==)/g)).size === pair.split('&').length)
    .map((query) => `?${query}`)
}
