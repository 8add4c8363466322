import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { Env } from '../../schemas/env.ts'
import { readConfig } from '../../src/config.ts'
import { PRODUCTION, ROOT } from '../helper/child.ts'

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const PAGES = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(ROOT, 'docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : [])),
]

/** The code blocks of a page in one language. */
const blocksOf = (page: string, language: string) =>
  [...read(page).matchAll(new RegExp(`^( *)\`\`\`${language}\n([^]*?)^ *\`\`\`$`, 'gm'))].map(
    ([, indent = '', block = '']) => block.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  )

/** The anchors of a page, as GitHub makes them. */
const anchorsOf = (page: string) =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

t.test('links lead somewhere', async (t) => {
  for (const page of PAGES) {
    const text = read(page).replaceAll(/^```.*?^```$/gms, '')
    for (const [, link = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue
      const [path = '', anchor] = link.split('#')
      const file = path ? relative(ROOT, join(ROOT, dirname(page), path)) : page
      t.ok(existsSync(join(ROOT, file)), `${page}: ${link}`)
      if (anchor !== undefined) t.ok(anchorsOf(file).includes(anchor), `${page}: ${link} has its heading`)
    }
  }
})

t.test('README.md shows the files of the example as they are', async (t) => {
  const snippets = [...read('README.md').matchAll(/```tsx?\n(\/\/ (lib\/tasks\.\w+\.ts)[^]*?)```/g)]
  t.same(
    snippets.map(([, , file]) => file),
    ['lib/tasks.client.ts', 'lib/tasks.server.ts'],
  )
  for (const [, text, file = ''] of snippets) t.equal(text, read(`examples/next/${file}`), file)
})

const COMPOSE_ONLY = ['POSTGRES_PASSWORD']
const isKnown = (name: string) => name in Env.properties || COMPOSE_ONLY.includes(name)

t.test('variables that pages set', async (t) => {
  const secret = 'q4bT9vX2mK7wR1zN8cJ5hL3pF6sD0gYa'
  const needed = {
    ...PRODUCTION,
    BETTER_AUTH_SECRET: secret,
    DATABASE_URL: 'postgres://a:b@db.example.com/tasks',
  }
  let found = 0
  for (const page of PAGES) {
    const inCommands = blocksOf(page, 'console').flatMap((block) => [
      ...block.matchAll(/(?<=^\$ (?:\w+=\S* )*|-e )([A-Z][A-Z_]+)=/gm),
    ])
    for (const [, name = ''] of inCommands) {
      if (!/^(TEST|BENCH)_|^(TOKEN|ID)$/.test(name)) t.ok(isKnown(name), `${page}: ${name} exists`)
    }
    for (const block of blocksOf(page, 'sh')) {
      const variables: Record<string, string> = {}
      for (const line of block.trimEnd().split('\n')) {
        const [, name = '', value = ''] = /^([A-Z_]+)=(\S+)$/.exec(line) ?? []
        t.ok(name, `${page}: a name, a value, and nothing behind it: ${line}`)
        t.ok(isKnown(name), `${page}: ${name} exists`)
        // Where a page says what a secret must be, it has none.
        variables[name] = name.endsWith('SECRET')
          ? secret
          : value.replace('${{Postgres.DATABASE_URL}}', needed.DATABASE_URL)
        found += 1
      }
      t.ok(readConfig({ ...needed, ...variables }), `${page}: they are accepted together`)
    }
  }
  t.ok(found > 10, `${found} were found`)
})

interface Service {
  build?: string
  command?: string[]
  environment: Record<string, string>
  ports?: string[]
  depends_on?: Record<string, { condition: string }>
}

/** What Compose puts in place of its variables; those that it asks for throw. */
const interpolate = (text: string, variables: Record<string, string>) =>
  text.replaceAll(/\$\{(\w+)(?:(:?[-?])([^}]*))?\}/g, (_, name: string, operator = '', rest = '') => {
    const value = variables[name]
    if (value || (value === '' && !operator.startsWith(':'))) return value
    if (operator.endsWith('?')) throw new Error(`${name} ${rest}`)
    return rest
  })

t.test('compose.yaml', async (t) => {
  const { services, volumes } = parse(read('compose.yaml'), { merge: true }) as {
    services: Record<'db' | 'migrate' | 'web', Service>
    volumes: object
  }
  const environmentOf = (name: keyof typeof services, given: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(services[name].environment).map(([key, value]) => [key, interpolate(value, given)]),
    )
  const given = {
    POSTGRES_PASSWORD: 'c2f1d8a4b09e73566d1f20c8',
    BETTER_AUTH_SECRET: 'q4bT9vX2mK7wR1zN8cJ5hL3pF6sD0gYa',
  }

  t.same(
    [services.migrate.depends_on, services.web.depends_on],
    [{ db: { condition: 'service_healthy' } }, { migrate: { condition: 'service_completed_successfully' } }],
    'one after the other',
  )
  t.same([services.migrate.build, services.web.build], ['.', '.'], 'both are this service')
  t.ok('data' in volumes, 'the data has a volume')

  const { preDeployCommand } = JSON.parse(read('railway.json')).deploy
  t.equal(services.migrate.command?.join(' '), preDeployCommand, 'it migrates as on Railway')
  t.ok(existsSync(join(ROOT, services.migrate.command?.[1] ?? '')), 'by a file that is there')
  const exposed = /^EXPOSE (\d+)$/m.exec(read('Dockerfile'))?.[1]
  t.equal(interpolate(services.web.ports?.[0] ?? '', {}), `8000:${exposed}`, 'the port is that of the image')

  for (const name of ['migrate', 'web'] as const)
    for (const variable of Object.keys(services[name].environment)) t.ok(variable in Env.properties, variable)
  const all = { NODE_ENV: 'production', ...environmentOf('web', given) }
  const { databaseUrl } = readConfig(all)
  const { hostname, password, pathname } = new URL(databaseUrl)
  t.same(
    { hostname, POSTGRES_PASSWORD: password, POSTGRES_DB: pathname.slice(1) },
    { hostname: 'db', ...environmentOf('db', given) },
    'the service accepts what it gets, and finds its database',
  )
  t.equal(environmentOf('migrate', given).DATABASE_URL, databaseUrl, 'migrations find the same')
  const byKeys = { ...given, BETTER_AUTH_SECRET: '', BETTER_AUTH_URL: 'https://app.example.com' }
  t.ok(readConfig({ ...PRODUCTION, ...environmentOf('web', byKeys) }), 'without a secret, with an address')

  for (const name of Object.keys(given)) {
    const rest = Object.fromEntries(Object.entries(given).filter(([other]) => other !== name))
    t.throws(
      () => [environmentOf('db', rest), environmentOf('web', rest)],
      { message: new RegExp(`^${name} must be set.* Make one with: openssl rand `) },
      `${name} is asked for`,
    )
  }
})
