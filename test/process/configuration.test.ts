import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import Fastify from 'fastify'
import t from 'tap'
import env from '../../plugins/env.ts'
import { Env } from '../../schemas/env.ts'
import { parseOrigins } from '../../src/origins.ts'
import { SECRET } from '../helper/app.ts'

type Variables = Partial<Record<keyof Env, string>>

// Nobody listens there: what is accepted by mistake ends quickly, with another sentence.
const NOWHERE = 'postgres://nobody@127.0.0.1:1/none'
const VALID: Variables = { BETTER_AUTH_SECRET: SECRET, DATABASE_URL: NOWHERE, HOST: '127.0.0.1', PORT: '0' }
const PASSWORD = 'hunter2hunter2'
const SERVER = resolve('src/server.ts')

t.setTimeout(300_000)
t.jobs = 2
const directory = t.testdir()

function boot(variables: Variables): Promise<{ code: unknown; stderr: string }> {
  const options = {
    cwd: directory,
    env: { NODE_COMPILE_CACHE: join(directory, 'cache'), ...variables },
    timeout: 60_000,
    killSignal: 'SIGKILL',
  } as const
  return new Promise((done) => {
    execFile(process.execPath, [SERVER], options, (error, _stdout, stderr) =>
      done({ code: error ? error.code : 0, stderr }),
    )
  })
}

/** Boots with these variables and expects exit code 1 and one line for each name. */
function refused(title: string, variables: Variables, names: string[]) {
  t.test(title, { buffered: true }, async (t) => {
    const { code, stderr } = await boot(variables)
    t.equal(code, 1)
    t.ok(stderr.endsWith('\n'))
    const lines = stderr.split('\n').slice(0, -1)
    t.equal(lines.length, names.length, stderr)
    for (const line of lines) t.match(line, /^taskward: [A-Z_]{4,}\b:? \S.+[^,;:]$/)
    for (const name of names) {
      const told = lines.filter((line) => new RegExp(`^taskward: ${name}\\b`).test(line))
      t.equal(told.length, 1, `${name}=${variables[name as keyof Env] ?? ''}`)
    }
    const secrets = Object.entries(variables).flatMap(([name, value]) =>
      name.includes('SECRET') ? value.split(/,|\d:/).filter((secret) => secret.length > 9) : [],
    )
    for (const secret of [PASSWORD, ...secrets]) t.notOk(stderr.includes(secret), 'tells no secret')
  })
}

const production = { NODE_ENV: 'production', FRONTEND_URL: 'https://app.example.com' }
const frontends = [
  '*',
  ',',
  ' , ',
  'null',
  'https://app.example.com,*',
  'https://app.example.com/login',
  'https://app.example.com?x=1',
  'https://app.example.com/#top',
  'https://*.vercel.app',
  'https://app-*.vercel.app',
  'https://*-app-*-team.vercel.app',
  'https://app.*-team.vercel.app',
  `https://ada:${PASSWORD}@app.example.com`,
  `https://ada:${PASSWORD}@*-app-*-team.vercel.app`,
  `ada:${PASSWORD}@app.example.com`,
  'app.example.com',
  'localhost:3000',
  'ftp://app.example.com',
]

/** For each variable what it refuses, alone or together with others. */
const BAD: Record<keyof Env, (string | [value: string, others: Variables])[]> = {
  NODE_ENV: ['prod', 'Production'],
  BETTER_AUTH_SECRET: [
    'Xq7-short-one',
    SECRET.slice(0, 31),
    'better-auth-secret-12345678901234567890',
    'your-secret-key-change-in-production',
    'your-super-secret-key-min-32-chars-long',
    'change-me-change-me-change-me-change-me',
    'replace_me_with_32_random_characters_now',
    'my-placeholder-secret-of-32-characters',
    '12345678901234567890123456789012',
    'a-string-secret-at-least-256-bits-long',
    '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
    'a'.repeat(64),
    'abcd1234'.repeat(8),
  ],
  BETTER_AUTH_SECRETS: [',', `${SECRET},`, `2:,1:${SECRET}`, `2:${SECRET},1:Xq7-short-one`],
  BETTER_AUTH_URL: [
    'app.example.com',
    'localhost:3000',
    'ftp://app.example.com',
    'https://',
    `https://ada:${PASSWORD}@app.example.com`,
  ],
  JWKS_URL: [
    ['https://app.example.com/keys', {}],
    ['/api/auth/jwks', { BETTER_AUTH_URL: 'https://app.example.com' }],
    [`https://ada:${PASSWORD}@app.example.com/keys`, { BETTER_AUTH_URL: 'https://app.example.com' }],
  ],
  JWT_ISSUER: [['https://app.example.com', { JWKS_URL: 'https://app.example.com/keys' }]],
  JWT_AUDIENCE: [['https://app.example.com', { JWKS_URL: 'https://app.example.com/keys' }]],
  LOCAL_AUTH: ['yes'],
  LOCAL_AUTH_SECRET: ['Xq7-short-one', 'change-me-change-me-change-me-change-me'],
  JWT_EXPIRATION_DAYS: ['0', '366', '7d'],
  ACCESS_TOKEN_EXPIRE_MINUTES: ['0', '525601'],
  REFRESH_TOKEN_EXPIRATION_DAYS: ['-1', '3651'],
  BCRYPT_COST: ['3', '16'],
  DATABASE_URL: [
    `mysql://ada:${PASSWORD}@db.example.com/tasks`,
    `ada:${PASSWORD}@db.example.com/tasks`,
    `postgres://ada:${PASSWORD}@db.example.com:port/tasks`,
    'sqlite:tasks.db',
    'pglite:',
    '/var/lib/tasks',
  ],
  NEON_DATABASE_URL: [[`mysql://ada:${PASSWORD}@db.example.com/tasks`, { DATABASE_URL: '' }]],
  DATABASE_POOL_MAX: ['0', '1001', '2.5'],
  DATABASE_TIMEOUT: ['99', '600001', '5s'],
  DATABASE_PREPARE: ['yes', 'ON'],
  DATABASE_RLS: ['false', 'ON'],
  FRONTEND_URL: frontends,
  ALLOWED_ORIGINS: [
    ['*', { FRONTEND_URL: '' }],
    [`https://ada:${PASSWORD}@app.example.com`, {}],
  ],
  RATE_LIMIT_MAX: ['0', 'many'],
  RATE_LIMIT_WINDOW: ['0', '86401'],
  AUTH_RATE_LIMIT_MAX: ['0'],
  REDIS_URL: [`http://:${PASSWORD}@redis.example.com`, 'redis.example.com:6379'],
  TRUST_PROXY: ['1', 'true', '10.0.0.0/33', '10.0.0.1,', 'proxy.example.com'],
  HOST: [
    ['203.0.113.1', production],
    ['256.0.0.1', production],
  ],
  PORT: ['http', '65536', '-1', '80.5'],
  WEB_CONCURRENCY: ['0', '129', 'auto', ['2', { DATABASE_URL: 'pglite:memory' }]],
  LOG_LEVEL: ['verbose', 'INFO'],
  DOCS: ['false', 'yes'],
}

// The first bad value of every variable at once, then the second of those that have one, …
const rounds = Math.max(...Object.values(BAD).map(({ length }) => length))
for (let i = 0; i < rounds; i++) {
  const round = Object.entries(BAD).flatMap(([name, values]) => {
    const value = values[i]
    return typeof value === 'string' ? [[name, value] as const] : []
  })
  const names = round.map(([name]) => name)
  refused(`bad values, ${i + 1} of ${rounds}`, { ...VALID, ...Object.fromEntries(round) }, names)
}
for (const [name, values] of Object.entries(BAD)) {
  // Told by the variable that lacks them.
  const told = name === 'JWT_ISSUER' || name === 'JWT_AUDIENCE' ? 'JWKS_URL' : name
  for (const entry of values) {
    if (typeof entry === 'string') continue
    const [value, others] = entry
    refused(`${name}=${value}`, { ...VALID, ...others, [name]: value }, [told])
  }
}

refused('neither secret nor address', { DATABASE_URL: NOWHERE }, ['BETTER_AUTH_SECRET or BETTER_AUTH_URL'])
refused(
  'empty and blank variables are unset',
  {
    DATABASE_URL: NOWHERE,
    BETTER_AUTH_SECRET: '',
    BETTER_AUTH_SECRETS: ' ',
    PORT: '',
    DOCS: '',
    FRONTEND_URL: '',
  },
  ['BETTER_AUTH_SECRET or BETTER_AUTH_URL'],
)
refused('production without a database', { ...VALID, ...production, DATABASE_URL: '' }, [
  'DATABASE_URL must be set',
])
refused('production without a front end', { ...VALID, NODE_ENV: 'production' }, ['FRONTEND_URL must be set'])
refused('production with neither', { BETTER_AUTH_SECRET: SECRET, NODE_ENV: 'production' }, [
  'DATABASE_URL must be set',
  'FRONTEND_URL must be set',
])
t.test('what is accepted', async (t) => {
  const read = async (variables: Variables) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(env, { env: variables })
    return app.config
  }
  const empty = Object.fromEntries(Object.keys(Env.properties).map((name) => [name, '']))
  const config = await read({ ...empty, BETTER_AUTH_SECRET: SECRET })
  t.match(config, {
    NODE_ENV: 'development',
    PORT: 8000,
    DOCS: 'on',
    databaseUrl: 'pglite:.data',
    secrets: [SECRET],
  })
  t.ok(config.isAllowedOrigin('http://localhost:3000'))

  const other = 'c2f1d8a4b09e73566d1f20c8e5a79b34'
  t.same((await read({ BETTER_AUTH_SECRETS: ` 2:${other} , 1:${SECRET}` })).secrets, [other, SECRET])
  t.same((await read({ BETTER_AUTH_SECRETS: other, BETTER_AUTH_SECRET: SECRET })).secrets, [other, SECRET])
  t.same((await read({ BETTER_AUTH_SECRETS: other, BETTER_AUTH_SECRET: other })).secrets, [other])

  const jwks = await read({ BETTER_AUTH_URL: 'https://app.example.com/' })
  t.same(
    [jwks.jwksUrl?.href, jwks.keySetOrigin],
    ['https://app.example.com/api/auth/jwks', 'https://app.example.com'],
  )
  const keys = 'https://keys.example.com/'
  t.equal((await read({ JWKS_URL: keys, JWT_ISSUER: 'a', JWT_AUDIENCE: 'b' })).jwksUrl?.href, keys)

  for (const url of [
    'postgresql://ada@db.example.com/tasks?sslmode=require',
    'postgres:///tasks',
    'pglite:memory',
  ]) {
    t.equal((await read({ BETTER_AUTH_SECRET: SECRET, NEON_DATABASE_URL: url })).databaseUrl, url)
  }
})

t.test('origins', async (t) => {
  const app = 'https://app.example.com'
  const preview = 'https://app-*-team.vercel.app'
  const cases: [list: string, allowed: string[], refused: string[]][] = [
    [
      app,
      [app],
      [
        '',
        'null',
        '*',
        `${app}/`,
        `${app}.`,
        `${app}.evil.com`,
        `${app}:443`,
        `${app}:8443`,
        `${app}evil.com`,
        'http://app.example.com',
        'https://example.com',
        'https://evilapp.example.com',
        'https://x.app.example.com',
        'https://APP.example.com',
        'HTTPS://app.example.com',
        'https://аpp.example.com',
        'https://xn--pp-6kc.example.com',
        'https://app.example.com@evil.com',
        'https://evil.com/https://app.example.com',
        'https://app-example.com',
      ],
    ],
    [' HTTPS://App.Example.com:443/ , ,', [app], ['HTTPS://App.Example.com:443/', `${app}:443`]],
    [
      `${app},http://localhost:3000`,
      [app, 'http://localhost:3000'],
      ['http://localhost', 'https://localhost:3000'],
    ],
    ['http://localhost:80', ['http://localhost'], ['http://localhost:80']],
    [
      'https://bücher.example',
      ['https://xn--bcher-kva.example'],
      ['https://bücher.example', 'https://bucher.example'],
    ],
    ['http://[::1]:3000', ['http://[::1]:3000'], ['http://::1:3000']],
    [
      preview,
      [
        'https://app-1-team.vercel.app',
        'https://app-git-main-x9-team.vercel.app',
        'https://app---team.vercel.app',
      ],
      [
        'null',
        preview,
        'https://app--team.vercel.app',
        'https://app-team.vercel.app',
        'https://app-1-team.vercel.app.',
        'https://app-1-team.vercel.app.evil.com',
        'https://app-1-team.vercel.app:444',
        'https://app-1-team.vercel.app/',
        'https://app-1-team.evil.app',
        'https://app-1-teams.vercel.app',
        'https://app-1-other.vercel.app',
        'https://app-x.evil-team.vercel.app',
        'https://app-evil.com/-team.vercel.app',
        'https://app-evil.com#-team.vercel.app',
        'https://app-x@evil-team.vercel.app',
        'https://app-x:1-team.vercel.app',
        'https://app-x\n-team.vercel.app',
        'https://x.app-1-team.vercel.app',
        'https://xapp-1-team.vercel.app',
        'http://app-1-team.vercel.app',
        'https://app-X-team.vercel.app',
        'https://app-é-team.vercel.app',
      ],
    ],
    ['https://*-team.vercel.app:8443', ['https://x-team.vercel.app:8443'], ['https://x-team.vercel.app']],
    [`${app},${preview}`, [app, 'https://app-1-team.vercel.app'], ['https://app-1-team.example.com']],
  ]
  for (const [list, allowed, others] of cases) {
    const matches = parseOrigins(list)
    for (const origin of allowed) t.ok(matches(origin), `${list} allows ${origin}`)
    for (const origin of others) t.notOk(matches(origin), `${list} does not allow ${origin}`)
  }

  for (const entry of [
    ...frontends,
    '',
    'https://',
    '//app.example.com',
    'javascript:alert(1)',
    'file:///index.html',
    'https:app.example.com',
    'https://app.example.com?',
    'https://app.example.com#',
    'https://app.example.com:99999',
    'https://app.example.com:*',
    'http*://app.example.com',
    'https://*',
    'https://*.com',
    'https://app-*-team.com',
    'https://app-*-.vercel.app',
    'https://ü-*-team.vercel.app',
    `${preview}/path`,
    `${preview}:*`,
    'https://app.example.com https://b.example.com',
  ]) {
    t.throws(() => parseOrigins(entry), { message: /^[^\n]+$/ }, entry)
  }
  t.throws(() => parseOrigins(`${app},https://b.example.com/x`), {
    message: /"https:\/\/b\.example\.com\/x"/,
  })
})

t.test('every variable is documented, in the order of the schema', async (t) => {
  const names = Object.keys(Env.properties)
  const example = readFileSync('.env.example', 'utf8')
  t.same(
    [...example.matchAll(/^(\w+)=/gm)].map(([, name]) => name),
    names,
  )
  const [, section = ''] = readFileSync('README.md', 'utf8').split('\n## Environment\n')
  const [table = ''] = section.split('\n## ')
  const cells = [...table.matchAll(/^\| (`[A-Z].*?) +\|/gm)].map(([, cell]) => cell ?? '')
  t.same(
    cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name)),
    names,
  )
})
