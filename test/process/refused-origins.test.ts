import t, { type Test } from 'tap'
import { isLoopbackOrigin } from '../../src/origins.ts'
import { build, SECRET } from '../helper/app.ts'

const HOST = 'api.example.com'

async function logged(t: Test, env: Record<string, string | undefined>) {
  const lines: { level: string; msg: string }[] = []
  const app = await build(t, { env, onLog: (text) => lines.push(JSON.parse(text)) })
  lines.length = 0
  const call = async (origin: string, method: 'GET' | 'OPTIONS' = 'OPTIONS', url = '/todos') => {
    const headers = { origin, host: HOST, 'access-control-request-method': 'POST' }
    const response = await app.inject({ method, url, headers })
    return response.headers['access-control-allow-origin']
  }
  return { call, said: () => lines.filter(({ msg }) => msg.startsWith('origin ')) }
}

t.test('a refused origin is logged once', async (t) => {
  const { call, said } = await logged(t, {
    FRONTEND_URL: 'http://localhost:3000/, https://app-*-team.vercel.app',
  })
  for (const method of ['OPTIONS', 'GET', 'OPTIONS'] as const) {
    await call('http://127.0.0.1:3000', method)
    await call('http://localhost:3000', method)
    await call('https://app-1-team.vercel.app', method)
    await call(`https://${HOST}`, method)
  }
  t.match(
    said(),
    [
      {
        level: 'warn',
        msg: 'origin http://127.0.0.1:3000 is not in FRONTEND_URL (http://localhost:3000, https://app-*-team.vercel.app)',
      },
    ],
    'with the list as it was understood',
  )
  await call('https://evil.example.com', 'GET', '/health')
  await call('https://api.example.com.evil.com', 'GET')
  t.same(
    said().map(({ msg }) => msg.split(' ')[1]),
    ['http://127.0.0.1:3000', 'https://evil.example.com', 'https://api.example.com.evil.com'],
    'each other one as well, but not that of its own pages',
  )
})

t.test('ALLOWED_ORIGINS, where that is read', async (t) => {
  const { call, said } = await logged(t, {
    FRONTEND_URL: undefined,
    ALLOWED_ORIGINS: 'https://app.example.com',
  })
  await call('https://b.example.com')
  t.match(said(), [
    { msg: 'origin https://b.example.com is not in ALLOWED_ORIGINS (https://app.example.com)' },
  ])
})

t.test('whoever makes origins up fills no log', async (t) => {
  const { call, said } = await logged(t, {})
  for (let i = 0; i < 150; i++) await call(`https://${i}.evil.example.com`)
  t.equal(said().length, 100, 'a hundred lines')

  const long = await logged(t, {})
  await long.call(`https://${'x'.repeat(5000)}.example.com`)
  await long.call(`https://${'x'.repeat(5001)}.example.com`)
  t.equal(long.said().length, 1)
  t.ok((long.said()[0]?.msg.length ?? 999) < 300, 'of bounded length')
})

const LOCAL = [
  'http://localhost:3001',
  'http://127.0.0.1:5173',
  'http://[::1]:4000',
  'https://localhost',
  'http://127.0.0.1',
]
const NOT_LOCAL = [
  'null',
  '',
  'localhost:3000',
  'http://localhost:3000/',
  'http://localhost:80',
  'http://LOCALHOST:3000',
  'http://localhost.evil.com',
  'http://localhost.:3000',
  'http://evil.localhost:3000',
  'http://localhost@evil.com',
  'http://evil.com#localhost',
  'http://127.0.0.1.evil.com',
  'http://127.1:3000',
  'http://2130706433:3000',
  'http://127.0.0.2:3000',
  'http://0.0.0.0:3000',
  'http://[::ffff:127.0.0.1]:3000',
  'ftp://localhost:3000',
  'file://localhost',
  'chrome-extension://localhost',
  'http://192.168.0.1:3000',
]

t.test('this machine is allowed on any port in development alone', async (t) => {
  const development = await logged(t, { NODE_ENV: 'development' })
  const production = await logged(t, {
    NODE_ENV: 'production',
    DATABASE_URL: 'pglite:memory',
    BETTER_AUTH_SECRET: SECRET,
  })
  for (const origin of LOCAL) {
    t.ok(isLoopbackOrigin(origin), origin)
    t.equal(await development.call(origin), origin, `${origin} in development`)
    t.equal(await production.call(origin), undefined, `${origin} in production`)
  }
  t.same(development.said(), [], 'nothing was refused')
  t.equal(production.said().length, LOCAL.length, 'all were refused')
  for (const origin of NOT_LOCAL) {
    t.notOk(isLoopbackOrigin(origin), origin)
    t.equal(await development.call(origin), undefined, `${origin} is not this machine`)
  }
})
