import { existsSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { join } from 'node:path'
import { sql } from 'kysely'
import pg from 'pg'
import t, { type Test } from 'tap'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { examine } from '../../src/cli/index.ts'
import type { Variables } from '../../src/config.ts'
import { connect } from '../../src/database/index.ts'
import { mint, SECRET } from '../helper/app.ts'
import { NOWHERE, PASSWORD, start } from '../helper/child.ts'
import { command } from '../helper/commands.ts'
import { databaseUrl, embeddedUrl, migratedUrl } from '../helper/database.ts'
import { freePort, listen } from '../helper/http.ts'
import { hasRedis, REDIS_URL } from '../helper/redis.ts'
import { CITUS } from '../helper/template.ts'

const shared = { BETTER_AUTH_SECRET: SECRET, DATABASE_URL: NOWHERE }
const { privateKey, publicKey } = await generateKeyPair('EdDSA')
const jwk = { ...(await exportJWK(publicKey)), kid: 'first', alg: 'EdDSA' }

async function startIssuer(t: Test, answer: RequestListener) {
  const requests: string[] = []
  const server = createServer((request, response) => {
    requests.push(`${request.url} ${JSON.stringify(request.headers)}`)
    answer(request, response)
  })
  const port = await listen(t, server)
  return { origin: `http://127.0.0.1:${port}`, requests }
}
const keys =
  (...keys: unknown[]): RequestListener =>
  (_request, response) =>
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys }))

/** What examine() finds of one thing. */
async function found(variables: Variables, check: RegExp) {
  for await (const examination of examine(variables)) if (check.test(examination.check)) return examination
  throw new Error(`${check} was not looked at`)
}

t.test('a token out of a secret, however it was copied', async (t) => {
  const token = await mint({ sub: 'ada', email: 'ada@example.com' })
  for (const [args, input] of [
    [['--token', '-'], token],
    [['--token', '-'], `${token}\n`],
    [['--token', token], ''],
    [['--token', `Bearer ${token}`], ''],
    [['--token', `"${token}"`], ''],
    [['--token', '-'], `\n  Authorization: Bearer ${token}\r\n`],
    [['--token', '-'], `'Authorization: bearer ${token}'`],
    [['--token', '-'], `"Bearer ${token}"\n`],
  ] as [string[], string][]) {
    const { code, stdout, stderr } = await command(['doctor', ...args], shared, input)
    t.equal(code, 0, 'exit code 0')
    t.match(stdout, /^ok {3}token\n.*user "ada", "ada@example\.com"\.\n/, 'who it is')
    t.match(stdout, /verified with BETTER_AUTH_SECRET \("HS256"\)\.\n/, 'which secret')
    t.match(stdout, /good until \S+Z, for (1 h|59 min \d+ s)\.$/, 'until when')
    t.equal(stderr, '')
    for (const part of [SECRET, ...token.split('.')]) t.notOk(stdout.includes(part), 'nothing of it is shown')
  }
})

t.test('which secret it was', async (t) => {
  const other = 'w8Nc3Zr6Ty1Ub5Vm9Xk2Lp7Qs4Hd0JfE'
  const token = await mint({ sub: 'ada' }, other)
  for (const [variables, name] of [
    [{ BETTER_AUTH_SECRETS: `2:${SECRET},1:${other}` }, 'one of BETTER_AUTH_SECRETS'],
    [{ LOCAL_AUTH_SECRET: other }, 'LOCAL_AUTH_SECRET'],
  ] as const) {
    const { stdout } = await command(['doctor', '--token', token], { ...shared, ...variables })
    t.match(stdout, `verified with ${name} (`, name)
    t.notOk(stdout.includes(other), 'which is not shown')
  }
})

t.test('a token that is refused', async (t) => {
  const token = await mint(
    { sub: 'ada', iss: 'https://app.example.com/' },
    'another-secret-of-another-server',
  )
  const { code, stdout } = await command(['doctor', '--token', '-'], shared, token)
  t.equal(code, 1, 'exit code 1')
  t.match(stdout, /^FAIL token\n {5}The signature is of another key, .*BETTER_AUTH_SECRET/, 'the reason')
  t.match(stdout, /header: alg "HS256", typ "JWT"\n/, 'its header')
  t.match(stdout, /payload: iss "https:\/\/app\.example\.com\/", sub "ada", iat \d+, exp \d+$/, 'its claims')
  for (const part of [SECRET, ...token.split('.')]) t.notOk(stdout.includes(part), 'nothing of it is shown')

  const banned = await command(['doctor', '--token', await mint({ sub: 'ada', banned: true })], shared)
  t.match(banned.stdout, /banned or disabled/, 'a user who is banned')
})

t.test("a token out of the issuer's keys, which is sent to nobody", async (t) => {
  const { origin, requests } = await startIssuer(t, keys(jwk))
  const sign = (kid: string) =>
    new SignJWT({ sub: 'ada', iss: origin, aud: origin })
      .setProtectedHeader({ alg: 'EdDSA', kid })
      .setIssuedAt()
      .setExpirationTime('15m')
      .sign(privateKey)
  const variables = { DATABASE_URL: NOWHERE, BETTER_AUTH_URL: origin }
  const token = await sign('first')
  const good = await command(['doctor', '--token', token], variables)
  t.equal(good.code, 0)
  t.match(good.stdout, `the key "first" of ${origin}/api/auth/jwks ("EdDSA")`)
  const bad = await command(['doctor', '--token', await sign('second')], variables)
  t.equal(bad.code, 1)
  t.match(bad.stdout, /FAIL token\n {5}The key id \(kid\) is "second" .* which has "first" \("EdDSA"\)\./)
  t.ok(requests.length > 0)
  for (const request of requests) {
    t.match(request, /^\/api\/auth\/jwks \{/, 'the keys alone are asked for')
    for (const part of token.split('.')) t.notOk(request.includes(part), 'without the token')
  }

  const nobody = { ...variables, BETTER_AUTH_URL: `http://127.0.0.1:${await freePort(t)}` }
  const unknown = await command(['doctor', '--token', token], nobody)
  t.equal(unknown.code, 1)
  t.match(unknown.stdout, /cannot be verified: .*jwks cannot be read \(ECONNREFUSED: nothing listens there\)/)
})

t.test('an environment that cannot be used, before a token', async (t) => {
  const { code, stdout } = await command(['doctor', '--token', 'x'], { BETTER_AUTH_SECRET: 'short' })
  t.equal(code, 1)
  t.match(stdout, /^FAIL environment\n.*BETTER_AUTH_SECRET/)
})

t.test('the origins and the older variables, as they were understood', async (t) => {
  const production = {
    NODE_ENV: 'production',
    FRONTEND_URL: 'HTTPS://App.example.com:443/ , https://a-*-team.vercel.app',
  }
  const { advice, notes } = await found({ ...shared, ...production, SECRET_KEY: PASSWORD }, /^environment$/)
  t.same(advice, [])
  t.equal(notes?.[0], 'Browsers may call from https://app.example.com, https://a-*-team.vercel.app.')
  t.match(notes?.[1], /SECRET_KEY \(set BETTER_AUTH_SECRET\)\.$/)
  t.notMatch(notes?.join(), PASSWORD)
  const local = await found(shared, /^environment$/)
  t.match(local.notes, [
    /http:\/\/localhost:3000, and this machine on any port while NODE_ENV is development\.$/,
  ])
})

t.test("the issuer's keys", async (t) => {
  const { origin } = await startIssuer(t, keys(jwk, { kid: 'next\u001b', alg: 'ES256' }, null))
  const { advice, notes } = await found({ ...shared, BETTER_AUTH_URL: origin }, /^keys/)
  t.same(advice, [])
  t.same(notes, ['kid "first", alg "EdDSA"', 'kid "next\\u001b", alg "ES256"', 'kid missing, alg missing'])

  for (const [answer, sentence] of [
    [keys(), /no key there yet/],
    [(_, response) => response.writeHead(404).end('{"keys":[1]}'), /answer is 404, expected 200/],
    [(_, response) => response.writeHead(302, { location: '/login' }).end(), /answer is 302/],
    [(_, response) => response.end('<!doctype html>'), /no JSON Web Key Set/],
    [(_, response) => response.end('null'), /no JSON Web Key Set/],
    [
      (_, response) => response.destroy(),
      /cannot be read \((ECONNRESET|UND_ERR_SOCKET): the connection was cut\)/,
    ],
  ] as [RequestListener, RegExp][]) {
    const { origin } = await startIssuer(t, answer)
    t.match((await found({ ...shared, BETTER_AUTH_URL: origin }, /^keys/)).advice, [sentence], `${sentence}`)
  }

  const port = await freePort(t)
  for (const [url, sentence] of [
    [`http://127.0.0.1:${port}`, /ECONNREFUSED: nothing listens there/],
    [`http://localhost:${port}`, /ECONNREFUSED: nothing listens there/],
    ['http://nobody.invalid', /(ENOTFOUND: there is no host of this name|EAI_AGAIN: the name server)/],
    [origin.replace('http:', 'https:'), /it speaks http, not https/],
  ] as const) {
    const { advice } = await found({ ...shared, BETTER_AUTH_URL: url }, /^keys/)
    t.match(advice, [sentence], url)
    t.notMatch(advice, [/fetch failed/])
  }
})

t.test('the clock', async (t) => {
  const clockOf = async (seconds: number) => {
    const date = new Date(Date.now() + seconds * 1000).toUTCString()
    const { origin } = await startIssuer(t, (request, response) => {
      response.sendDate = false
      response.setHeader('date', date)
      keys(jwk)(request, response)
    })
    return (await found({ ...shared, BETTER_AUTH_URL: origin }, /^clock/)).advice
  }
  t.same(await clockOf(0), [], 'the same')
  t.same(await clockOf(20), [], 'within the leeway')
  t.match(await clockOf(3600), [/issuer is (1 h|59 min \d+ s|1 h \d s) ahead of .* 30 s are allowed/])
  t.match(await clockOf(-600), [/issuer is (10 min|10 min \d+ s) behind/])
})

t.test('Redis', async (t) => {
  const nobody = `redis://:${PASSWORD}@127.0.0.1:${await freePort(t)}`
  const { check, advice } = await found({ ...shared, REDIS_URL: nobody }, /^Redis/)
  t.match(check, /^Redis at 127\.0\.0\.1:\d+$/)
  t.match(advice, [/ECONNREFUSED: nothing listens there.*REDIS_URL/])
  t.notMatch(check + advice, PASSWORD, 'without its password')
  await t.test('that answers', { skip: !hasRedis && 'needs Redis' }, async (t) => {
    t.same((await found({ ...shared, REDIS_URL }, /^Redis/)).advice, [])
  })
})

t.test('an embedded database that is in use', async (t) => {
  const DATABASE_URL = await embeddedUrl()
  const { process } = await start(t, { DATABASE_URL })
  const { code, stdout } = await command(['doctor'], { ...shared, DATABASE_URL })
  t.equal(code, 0, 'exit code 0')
  t.match(
    stdout,
    new RegExp(`^-- {3}database.*\n {5}Process ${process.pid} uses the database in .*: stop it first`, 'm'),
  )
})

t.test('an embedded database that is not there yet', async (t) => {
  const directory = join(t.testdir(), 'data')
  const { code, stdout } = await command(['doctor'], { ...shared, DATABASE_URL: `pglite:${directory}` })
  t.equal(code, 0, 'exit code 0')
  t.match(stdout, /^-- {3}database.*\n {5}There is no embedded database yet\..* npm run dev$/m)
  t.notOk(existsSync(directory), 'and none is made')
})

t.test('an embedded database without its tables', async (t) => {
  const DATABASE_URL = await embeddedUrl('empty')
  const { advice } = await found({ ...shared, DATABASE_URL }, /^database/)
  t.match(advice, [/lacks migrations\. Start the service, which runs them: npm run dev$/])
})

const server = process.env.TEST_DATABASE_URL
const skip = (!server || CITUS !== undefined) && 'needs TEST_DATABASE_URL, without Citus'

t.test('a locale that knows letters of ASCII alone', { skip }, async (t) => {
  const DATABASE_URL = await databaseUrl()
  const name = new URL(DATABASE_URL).pathname.slice(1)
  const admin = new pg.Client({ connectionString: server })
  await admin.connect()
  t.teardown(() => admin.end())
  await admin.query(`drop database ${name}`)
  await admin.query(`create database ${name} template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'`)
  const variables = { ...shared, DATABASE_URL }
  t.equal((await command(['migrate'], variables)).code, 0)
  const { code, stdout } = await command(['doctor'], variables)
  t.equal(code, 0, 'is no fault')
  t.match(
    stdout,
    /\nok {3}database.*\n {5}Search, tags and the sort by title ignore case for ASCII .*'C\.UTF-8'$/,
  )
})

t.test('accounts that cannot sign in', async (t) => {
  const DATABASE_URL = await migratedUrl()
  const run = async (statement: string) => {
    const database = await connect({ url: DATABASE_URL })
    await database.asLogin((db) => sql.raw(statement).execute(db)).finally(() => database.close())
  }
  const remarks = async () => (await found({ ...shared, DATABASE_URL }, /^database/)).notes
  const [rene, zoe] = ['ren\u00e9@example.com', 'zo\u00eb@example.com']
  const addresses = [rene.normalize('NFD'), zoe, zoe.normalize('NFD'), 'ada@example.com']
  await run(`insert into accounts (id, email, name, password)
    select email, email, '', '' from unnest(array['${addresses.join("','")}']) as email`)

  const [one, other, ...more] = (await remarks()) ?? []
  t.match(one, /^1 account cannot sign in: .* form C\. .*: update accounts .*;$/)
  t.match(other, /^1 account cannot sign in: .* another account has it .*: select .*;$/)
  t.same(more, [])
  for (const remark of [one, other]) await run(String(remark?.split(': ').at(-1)))
  t.same(await remarks(), [other], 'what it says repairs the one, and leaves the other')
  await run(`delete from accounts where email = '${zoe}'`)
  await run(String(one?.split(': ').at(-1)))
  t.same(await remarks(), [])
})

t.test('all is well', async (t) => {
  const variables = { ...shared, DATABASE_URL: await migratedUrl() }
  const { code, stdout } = await command(['doctor'], variables)
  t.equal(code, 0, 'exit code 0')
  t.match(stdout, /^ok {3}environment\n {5}Browsers.*\nok {3}database, migrations[^\n]*$/, 'and nothing else')
  t.equal((await command(['doctor'], shared)).code, 1, 'exit code 1 without a database')
})
