import { sql } from 'kysely'
import t from 'tap'
import { buildApp } from '../../src/app.ts'
import {
  type Given,
  isolate,
  Owner,
  ScopedStatement,
  SharedScope,
  UserScope,
} from '../../src/isolation/index.ts'
import { createLogger } from '../../src/log.ts'
import { claimOwners, isolation, type OwnedTables, statement } from '../../src/tables.ts'
import { environment, identity } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { asRole, scopeOf } from '../helper/sql.ts'

// What someone can try who writes TypeScript with casts, or JavaScript: each fails when it is run.

type Forged = any

const list = statement((mine) => mine.selectFrom('tasks').select(['title', 'user_id']))
const find = statement((mine, given: Given<{ title: string }>) =>
  mine.selectFrom('tasks').select('title').where('title', '=', given.title),
)

const SELECT_ALL = { name: '', sql: 'select * from tasks', parameters: [], writes: false }

t.test('no owner but the one of the token', async (t) => {
  const db = await database()
  const ada = await scopeOf(db, 'ada')
  void ada // the app has claimed the owners
  const forged: [string, () => unknown][] = [
    ['a string', () => 'bob'],
    ['an object', () => ({ user_id: 'bob', columns: { user_id: 'bob' }, values: ['bob'] })],
    ['nothing', () => undefined],
    ['the prototype', () => Object.create(Owner.prototype)],
    ['an object that was made one', () => Object.setPrototypeOf({ values: ['bob'] }, Owner.prototype)],
    ['new Owner()', () => new (Owner as Forged)(Symbol('owner'), undefined, ['bob'])],
    [
      'a subclass',
      () => new (class extends (Owner as Forged) {} as Forged)(Symbol('owner'), undefined, ['bob']),
    ],
    ['Reflect.construct', () => Reflect.construct(Object as Forged, [], Owner)],
    ['claimOwners() again', () => claimOwners()({ id: 'bob' } as Forged)],
  ]
  for (const [what, make] of forged) {
    await t.rejects(
      async () => new UserScope(db, make() as Forged).all(list, {}),
      { message: /private|owner|claimOwners|undefined/ },
      what,
    )
  }
  t.throws(() => claimOwners(), /called before/, 'a second claimOwners()')
})

t.test('no statement but a proved one', async (t) => {
  const db = await database()
  await asRole(db, { user: 'bob' }, "insert into tasks (user_id, title) values ('bob', 'his')")
  const ada = await scopeOf(db, 'ada')
  const scoped = ada.bind(list, {})
  const constructors = { ScopedStatement, Statement: list.constructor as Forged }
  const forged: [string, () => unknown][] = [
    ['an object', () => SELECT_ALL],
    ['the prototype', () => Object.create(ScopedStatement.prototype)],
    ['the prototype, with SQL', () => Object.assign(Object.create(ScopedStatement.prototype), SELECT_ALL)],
    [
      'an object that was made one',
      () => Object.setPrototypeOf({ ...SELECT_ALL }, ScopedStatement.prototype),
    ],
    ['a copy', () => ({ ...scoped })],
    ['a copy with other SQL', () => ({ ...scoped, ...SELECT_ALL })],
    ['what inherits of one', () => Object.create(scoped, { sql: { value: SELECT_ALL.sql } })],
    ['a clone', () => structuredClone(scoped)],
    ['a proxy', () => new Proxy(scoped, {})],
    [
      'a proxy that changes the SQL',
      () =>
        new Proxy(scoped, {
          get: (target, key) => (key === 'sql' ? SELECT_ALL.sql : Reflect.get(target, key)),
        }),
    ],
    [
      'its constructor',
      () => new (scoped.constructor as Forged)(Symbol('statement'), SELECT_ALL, [], ['bob'], {}, {}),
    ],
    [
      'new ScopedStatement()',
      () => new (constructors.ScopedStatement as Forged)(undefined, SELECT_ALL, [], [], {}, {}),
    ],
    [
      'a subclass',
      () =>
        new (class extends (ScopedStatement as Forged) {} as Forged)(undefined, SELECT_ALL, [], [], {}, {}),
    ],
    [
      "a statement's constructor",
      () => new constructors.Statement(Symbol('statement'), SELECT_ALL, {}).bind(),
    ],
    ['a statement that is not bound', () => list],
  ]
  for (const [what, make] of forged) {
    await t.rejects(
      async () => db.run([make() as Forged]),
      TypeError,
      `${what}: the database does not run it`,
    )
    await t.rejects(async () => ada.transaction([make() as Forged]), TypeError, `${what}: nor does a scope`)
  }
  const unbound: [string, unknown][] = [
    ['an object', { ...SELECT_ALL, bind: () => SELECT_ALL }],
    ['a copy', { ...list }],
    ['the prototype', Object.create(Object.getPrototypeOf(list))],
    ['what inherits of one', Object.create(list, { sql: { value: SELECT_ALL.sql } })],
    ['a proxy', new Proxy(list, {})],
  ]
  for (const [what, one] of unbound)
    await t.rejects(async () => ada.all(one as Forged, {}), TypeError, `${what} in a scope`)
})

t.test('nothing that was proved can be changed', async (t) => {
  const db = await database()
  const ada = await scopeOf(db, 'ada')
  const scoped = ada.bind(find, { title: 'x' })
  for (const made of [find, scoped] as Forged[]) {
    for (const key of ['sql', 'name', 'writes', 'parameters', 'bind', 'constructor']) {
      t.throws(() => (made[key] = SELECT_ALL.sql), TypeError, `${made.constructor.name}.${key} = …`)
      t.throws(() => Object.defineProperty(made, key, { value: 'x' }), TypeError, `defined anew: ${key}`)
    }
    t.throws(() => Object.setPrototypeOf(made, {}), TypeError, 'another prototype')
  }
  const parameters = scoped.parameters as Forged
  t.throws(() => (parameters[0] = 'bob'), TypeError, 'another owner among the parameters')
  t.throws(() => parameters.splice(0, 1, 'bob'), TypeError, 'by splice')
  t.same(scoped.parameters, ['ada', 'x'], 'they are as they were')
})

t.test('a handler that declares tables and owners of its own', async (t) => {
  const db = await database()
  const app = await buildApp({ env: environment, database: db, logger: createLogger({ write() {} }) })
  t.teardown(() => app.close())
  const common = { owner: { user_id: (id: string) => id }, settings: 'app' }
  const own = isolate<string, Pick<OwnedTables, 'tasks'>, object>({
    ...common,
    roles: { owned: 'postgres', shared: 'postgres' },
    owned: { tasks: { key: 'id' } },
    shared: {},
  })
  const ofNobody = isolate<string, object, Pick<OwnedTables, 'tasks'>>({
    ...common,
    roles: { owned: 'postgres', shared: 'postgres' },
    owned: {},
    shared: { tasks: true },
  })
  const bob = own.claimOwners()('bob')
  const his = own.statement((mine) => mine.deleteFrom('tasks').returning('title'))
  const all = ofNobody.sharedStatement(() => sql`select title from tasks`)
  const attempts: Record<string, (request: Forged) => unknown> = {
    'their statement in the scope of the request': ({ scope }) => scope.all(his, {}),
    'their statement for their owner': ({ scope }) => {
      const elsewhere = new UserScope({ run: async () => [] }, bob)
      return scope.transaction([elsewhere.bind(his, {})])
    },
    "the service's statement for their owner": ({ scope }) => {
      const elsewhere = new UserScope({ run: async () => [] }, bob)
      return scope.transaction([elsewhere.bind(list, {})])
    },
    'their statement on tables that they call shared': () => app.sharedScope.all(all, {}),
    'the same in a transaction': ({ scope }) =>
      scope.transaction([new SharedScope({ run: async () => [] }).bind(all, {})]),
    'their statement for the owner of the request': ({ owner }) => new UserScope(db, owner).all(his, {}),
    'a user of theirs': ({ user }) => ((user.id = 'bob'), 'set'),
    'a claim of theirs': ({ user }) => ((user.claims.sub = 'bob'), 'set'),
    'a user with more': ({ user }) => Object.assign(user, { id: 'bob' }),
    'another user': (request) => ((request.user = { id: 'bob' }), 'set'),
    'another owner': (request) => ((request.owner = bob), 'set'),
    'another scope': (request) => ((request.scope = new UserScope(db, bob)), 'set'),
    'another owner in the scope': ({ scope }) => ((scope.owner = bob), scope.all(his, {})),
    'the constructor of the scope': ({ scope }) => new scope.constructor(db, 'bob').all(list, {}),
  }
  const seen: Record<string, unknown> = {}
  app.get('/attempts', { onRequest: app.authenticate }, async (request) => {
    for (const [what, attempt] of Object.entries(attempts)) {
      seen[what] = await (async () => attempt(request))().catch((error) => error)
    }
    return request.user.id
  })
  const rows = () => asRole(db, { user: 'bob' }, 'select title from tasks')
  await asRole(db, { user: 'bob' }, "insert into tasks (user_id, title) values ('bob', 'kept')")
  const before = await rows()
  const ada = await identity('ada')
  const response = await app.inject({ url: '/attempts', headers: ada.headers })
  t.equal(response.body, 'ada', 'the user is who they were')
  for (const what of Object.keys(attempts))
    t.ok(seen[what] instanceof TypeError, `${what}: ${String(seen[what])}`)
  t.same(await rows(), before, 'and nothing of another user has changed')
  t.equal(
    (await app.inject({ url: '/me', headers: ada.headers })).json().user_id,
    'ada',
    'nor has the next request',
  )
  t.ok(isolation.statements.length > 0, 'while the service has statements')
})

t.test('a handler that has a token of its own making verified', async (t) => {
  const app = await buildApp({
    env: environment,
    database: await database(),
    logger: createLogger({ write() {} }),
  })
  t.teardown(() => app.close())
  const { headers } = await identity('ada')
  const genuine = headers.authorization
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { sub: 'bob', exp: Math.floor(Date.now() / 1000) + 60 }
  const unsigned = `Bearer ${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}.${'A'.repeat(43)}`
  const of = (token: string) => ['authorization', token]
  const verifies = { jwtVerify: async () => ({ payload: claims, input: unsigned.split(' ')[1] }) }
  let read = 0
  const attempts: Record<string, (request: Forged) => object> = {
    'a request of their own': () => ({ raw: { rawHeaders: of(unsigned) }, ...verifies }),
    'one that inherits of theirs': (request) =>
      Object.create(request, {
        raw: { value: { rawHeaders: of(unsigned) } },
        jwtVerify: { value: verifies.jwtVerify },
      }),
    'theirs, with another jwtVerify': (request) => {
      request.raw.rawHeaders = of(unsigned)
      return Object.assign(request, verifies)
    },
    'theirs, with another token each time': (request) => {
      Object.defineProperty(request.raw, 'rawHeaders', { get: () => of(read++ ? genuine : unsigned) })
      return request
    },
    'theirs, with the answer for another token': (request) => {
      const right = request.jwtVerify({ verify: { extractToken: () => genuine.split(' ')[1] } })
      request.raw.rawHeaders = of(unsigned)
      return Object.assign(request, { jwtVerify: () => right })
    },
    'theirs, where something says who it is': (request) => {
      for (const key of Object.getOwnPropertySymbols(request))
        if (request[key]?.user) request[key] = { ...request[key], user: { id: 'bob' } }
      return {}
    },
  }
  app.get('/attempts/:what', { onRequest: app.authenticate }, async (request: Forged, reply) => {
    const attempt = attempts[request.params.what] as (request: Forged) => object
    await app.authenticate.call(app, attempt(request) as never, reply).catch(() => {})
    return request.user.id
  })
  for (const what of Object.keys(attempts)) {
    const { body } = await app.inject({ url: `/attempts/${encodeURIComponent(what)}`, headers })
    t.equal(body, 'ada', `${what}: the request is whose it was`)
    const after = await app.inject({ url: '/me', headers: { authorization: unsigned } })
    t.equal(after.statusCode, 401, 'and the token is still refused')
  }
})
