import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import env from '../../plugins/env.ts'
import { Env } from '../../schemas/env.ts'
import { readConfig } from '../../src/config.ts'
import { parseOrigins } from '../../src/origins.ts'
import { explain } from '../../src/process/index.ts'
import { SECRET } from '../helper/app.ts'
import { NOWHERE, PASSWORD, ROOT, run, SERVER } from '../helper/child.ts'
import { NOT_ORIGINS } from '../helper/origins.ts'

type Variables = Partial<Record<keyof Env, string>>

const VALID: Variables = { BETTER_AUTH_SECRET: SECRET, DATABASE_URL: NOWHERE, HOST: '127.0.0.1', PORT: '0' }

/** What the server writes to standard error if these variables keep it from starting. */
function refusalOf(variables: Variables): string {
  try {
    readConfig(variables)
    return ''
  } catch (error) {
    return `taskward: ${explain(error as Error)}\n`
  }
}

/** The same, by starting it: for faults that only listening shows. */
async function started(t: Test, variables: Variables): Promise<string> {
  const { code, stderr } = await run(t, [SERVER], variables).ended
  t.equal(code, 1, 'exit code 1')
  return stderr
}

/** Expects one line for each name. */
function refused(title: string, variables: Variables, names: string[], inProcess = true) {
  t.test(title, async (t) => {
    const text = inProcess ? refusalOf(variables) : await started(t, variables)
    t.ok(text.endsWith('\n'), 'whole lines')
    const lines = text.split('\n').slice(0, -1)
    t.equal(lines.length, names.length, `one line for each fault: ${text}`)
    for (const line of lines)
      t.match(line, /^taskward: [A-Z_]{4,}\b:? \S.+[^,;:]$/, 'a variable and a sentence')
    for (const name of names) {
      const reported = lines.filter((line) => new RegExp(`^taskward: ${name}\\b`).test(line))
      t.equal(reported.length, 1, `${name}=${variables[name as keyof Env] ?? ''}`)
    }
    const secrets = Object.entries(variables).flatMap(([name, value]) =>
      name.includes('SECRET') ? value.split(/,|\d:/).filter((secret) => secret.length > 9) : [],
    )
    for (const secret of [PASSWORD, ...secrets]) t.notOk(text.includes(secret), 'reveals no secret')
  })
}

const production = { NODE_ENV: 'production', FRONTEND_URL: 'https://app.example.com' }

/** Values that each variable refuses, alone or together with others. */
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
    `postgres://ada:${PASSWORD}@a:5432,b:port/tasks`,
    `postgres://ada:${PASSWORD}@a,,b/tasks`,
    `postgres://ada:${PASSWORD}@a,b,c/tasks?port=1,2`,
    `postgres://ada:${PASSWORD}@a,b/tasks?target_session_attrs=standby`,
    `postgres://ada:${PASSWORD}@a/tasks?target_session_attrs=writable`,
  ],
  NEON_DATABASE_URL: [[`mysql://ada:${PASSWORD}@db.example.com/tasks`, { DATABASE_URL: '' }]],
  DATABASE_OWNER_URL: [
    `mysql://ada:${PASSWORD}@db.example.com/tasks`,
    `postgres://ada:${PASSWORD}@a,b:/tasks?target_session_attrs=read-only`,
  ],
  DATABASE_POOL_MAX: ['0', '1001', '2.5'],
  DATABASE_TIMEOUT: ['99', '600001', '5s'],
  DATABASE_PREPARE: ['yes', 'ON'],
  DATABASE_RLS: ['false', 'ON'],
  FRONTEND_URL: NOT_ORIGINS,
  ALLOWED_ORIGINS: [
    ['*', { FRONTEND_URL: '' }],
    [`https://ada:${PASSWORD}@app.example.com`, {}],
  ],
  RATE_LIMIT_MAX: ['0', 'many'],
  RATE_LIMIT_WINDOW: ['0', '86401'],
  AUTH_RATE_LIMIT_MAX: ['0'],
  REDIS_URL: [`http://:${PASSWORD}@redis.example.com`, 'redis.example.com:6379'],
  TRUST_PROXY: ['1', 'true', '10.0.0.0/33', '10.0.0.1,', 'proxy.example.com'],
  CLIENT_IP_HEADER: [
    ['x-real-ip', { TRUST_PROXY: '' }],
    ['x real ip', { TRUST_PROXY: '10.0.0.0/8' }],
    ['x-real-ip, cf-connecting-ip', { TRUST_PROXY: '10.0.0.0/8' }],
    ['X-Forwarded-For', { TRUST_PROXY: '10.0.0.0/8' }],
    ['forwarded', { TRUST_PROXY: '10.0.0.0/8' }],
  ],
  HOST: [
    ['203.0.113.1', production],
    ['256.0.0.1', production],
  ],
  PORT: ['http', '65536', '-1', '80.5'],
  LOG_LEVEL: ['verbose', 'INFO'],
  METRICS_TOKEN: ['short', 'x'.repeat(15), `${SECRET} ${SECRET}`, 'geheimes-Schlüsselwort'],
  OTEL_EXPORTER_OTLP_ENDPOINT: [
    'collector:4318',
    'grpc://collector',
    `http://ada:${PASSWORD}@collector:4318`,
  ],
  DOCS: ['false', 'yes'],
}

const rounds = Math.max(...Object.values(BAD).map(({ length }) => length))
/** The first bad value of every variable at once, then the second of those that have one, … */
function badRound(i: number): Variables {
  const bad = Object.entries(BAD).flatMap(([name, values]) => {
    const value = values[i]
    return typeof value === 'string' ? [[name, value] as const] : []
  })
  return Object.fromEntries(bad)
}

for (let i = 0; i < rounds; i++) {
  const round = badRound(i)
  refused(`bad values, ${i + 1} of ${rounds}`, { ...VALID, ...round }, Object.keys(round))
}
for (const [name, values] of Object.entries(BAD)) {
  // Reported by the variable that lacks them.
  const reporter = name === 'JWT_ISSUER' || name === 'JWT_AUDIENCE' ? 'JWKS_URL' : name
  for (const entry of values) {
    if (typeof entry === 'string') continue
    const [value, others] = entry
    refused(`${name}=${value}`, { ...VALID, ...others, [name]: value }, [reporter], name !== 'HOST')
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

refused(
  'production with the .env of npm run dev',
  {
    ...parseEnv(readFileSync(join(ROOT, '.env.example'), 'utf8')),
    BETTER_AUTH_SECRET: SECRET,
    NODE_ENV: 'production',
  },
  ['DATABASE_URL must be set', 'FRONTEND_URL must be set'],
)

t.test('the server prints exactly that, and exits with code 1', async (t) => {
  for (const variables of [
    { ...VALID, ...badRound(0) },
    { BETTER_AUTH_SECRET: SECRET, NODE_ENV: 'production' },
    { DATABASE_URL: NOWHERE },
  ]) {
    const { code, stdout, stderr } = await run(t, [SERVER], variables).ended
    t.equal(code, 1, 'exit code 1')
    t.equal(stderr, refusalOf(variables), 'the same lines on standard error')
    t.equal(stdout, '', 'nothing else is printed')
  }
})

t.test('what is accepted', async (t) => {
  const read = async (variables: Variables) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(env, { env: variables })
    return app.config
  }
  const empty = Object.fromEntries(Object.keys(Env.properties).map((name) => [name, '']))
  const config = await read({ ...empty, BETTER_AUTH_SECRET: SECRET })
  t.match(
    config,
    {
      NODE_ENV: 'development',
      PORT: 8000,
      DOCS: 'on',
      databaseUrl: 'pglite:.data',
      secrets: [SECRET],
    },
    'empty variables have their defaults',
  )
  t.ok(parseOrigins(config.frontendUrl)('http://localhost:3000'), 'the local front end is allowed')

  const other = 'c2f1d8a4b09e73566d1f20c8e5a79b34'
  t.same(
    (await read({ BETTER_AUTH_SECRETS: ` 2:${other} , 1:${SECRET}` })).secrets,
    [other, SECRET],
    'numbered secrets, trimmed',
  )
  t.same(
    (await read({ BETTER_AUTH_SECRETS: other, BETTER_AUTH_SECRET: SECRET })).secrets,
    [other, SECRET],
    'the list comes before the single one',
  )
  t.same(
    (await read({ BETTER_AUTH_SECRETS: other, BETTER_AUTH_SECRET: other })).secrets,
    [other],
    'none is there twice',
  )

  const jwks = await read({ BETTER_AUTH_URL: 'https://app.example.com/' })
  t.same(
    [jwks.jwksUrl?.href, jwks.keySetOrigin],
    ['https://app.example.com/api/auth/jwks', 'https://app.example.com'],
    'the address of the keys follows from that of Better Auth',
  )
  const keys = 'https://keys.example.com/'
  t.equal(
    (await read({ JWKS_URL: keys, JWT_ISSUER: 'a', JWT_AUDIENCE: 'b' })).jwksUrl?.href,
    keys,
    'JWKS_URL needs nothing else besides an issuer and an audience',
  )

  for (const url of [
    'postgresql://ada@db.example.com/tasks?sslmode=require',
    'postgres:///tasks',
    'pglite:memory',
    'postgres://ada@a:5432,b:5433/tasks?target_session_attrs=read-write',
  ]) {
    t.equal((await read({ BETTER_AUTH_SECRET: SECRET, NEON_DATABASE_URL: url })).databaseUrl, url, url)
  }
  const DATABASE_URL = 'postgres://ada@a,b/tasks'
  const DATABASE_OWNER_URL = 'postgres://owner@a,b/tasks'
  t.same(
    (await read({ BETTER_AUTH_SECRET: SECRET, DATABASE_URL, DATABASE_OWNER_URL })).owner,
    { url: DATABASE_OWNER_URL, login: 'ada' },
    'migrations connect by an address of their own',
  )
})

t.test('every variable is documented, in the order of the schema', async (t) => {
  const names = Object.keys(Env.properties)
  const example = readFileSync(join(ROOT, '.env.example'), 'utf8')
  t.same(
    [...example.matchAll(/^(\w+)=/gm)].map(([, name]) => name),
    names,
    'in .env.example',
  )
  const [, section = ''] = readFileSync(join(ROOT, 'docs/operate.md'), 'utf8').split('\n## Environment\n')
  const [table = ''] = section.split('\n## ')
  const cells = [...table.matchAll(/^\| (`[A-Z].*?) +\|/gm)].map(([, cell]) => cell ?? '')
  t.same(
    cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name)),
    names,
    'in the table of docs/operate.md',
  )
})
