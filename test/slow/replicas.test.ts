import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Task } from '../../schemas/task.ts'
import { connect, type Database } from '../../src/database/index.ts'
import { dataOf, person, post, refresh } from '../helper/accounts.ts'
import { type App, build, identity, mint, SECRET } from '../helper/app.ts'
import { migratedUrl } from '../helper/database.ts'
import { bearer } from '../helper/http.ts'
import { forget, hasRedis, REDIS_URL } from '../helper/redis.ts'

const NEW_SECRET = 'Zk3vB8nQ5wY1xT6rM9cL2hJ7pF4sD0gA'

const needs = [!process.env.TEST_DATABASE_URL && 'TEST_DATABASE_URL', !hasRedis && `Redis at ${REDIS_URL}`]
const skip = needs.some(Boolean) && `needs ${needs.filter(Boolean).join(' and ')}`

const statusOf = async (app: App, headers: Record<string, string>) =>
  (await app.inject({ url: '/todos', headers })).statusCode

/** Starts instances that share a database and Redis, but no connections. */
async function cluster(t: Test) {
  const url = await migratedUrl()
  const databases: Database[] = []
  t.teardown(() => Promise.all(databases.map((db) => db.close())))
  return async (env: Record<string, string | undefined> = {}) => {
    const database = await connect({ url, poolMax: 4 })
    databases.push(database)
    const app = await build(t, { env: { REDIS_URL, ...env }, database })
    for (let i = 0; i < 100 && app.limits !== 'shared'; i++) await sleep(50)
    return app
  }
}

t.test('two instances act as one service', { skip }, async (t) => {
  const start = await cluster(t)
  const env = { RATE_LIMIT_MAX: '12', AUTH_RATE_LIMIT_MAX: '6' }
  const [one, two] = await Promise.all([start(env), start(env)])
  const from = `2001:db8:${randomBytes(2).toString('hex')}:1::1`
  const { name, ...credentials } = person()

  const signedUp = await post(one, 'signup', { ...credentials, name }, {}, from)
  t.equal(signedUp.statusCode, 201, 'sign-up at one is 201')
  const { user } = dataOf(signedUp)
  forget(t, user.id)
  forget(t, from.replace(/::1$/, '').replaceAll(/:0+(?=\w)/g, ':'))
  const signedIn = dataOf(await post(one, 'signin', credentials, {}, from))
  const headers = bearer(signedIn.token)
  const made = await two.inject({ method: 'POST', url: '/todos', headers, payload: { title: 'x' } })
  t.equal(made.statusCode, 201, 'a token of one is accepted by two')
  t.strictSame(
    (await one.inject({ url: `/todos/${made.json<Task>().id}`, headers })).json(),
    made.json(),
    'one has the task that two created',
  )

  const rotated = await refresh(two, signedIn.refresh_token, from)
  t.equal(rotated.statusCode, 200, 'a refresh token of one works at two')
  const next = dataOf(rotated)
  t.equal(await statusOf(one, bearer(next.token)), 200, 'the new token works at one')
  t.equal((await post(one, 'signout', {}, bearer(next.token))).statusCode, 200, 'sign-out at one is 200')
  t.equal((await refresh(two, next.refresh_token, from)).statusCode, 401, 'the refresh token is spent at two')

  t.equal((await refresh(two, 'x', from)).statusCode, 401, 'the fifth of six')
  t.equal((await refresh(one, 'x', from)).statusCode, 401, 'the sixth of six')
  for (const app of [one, two])
    t.equal((await refresh(app, 'x', from)).statusCode, 429, 'the seventh is 429 at both')
  const statuses: number[] = []
  for (let i = 0; i < 12; i++) statuses.push(await statusOf(i % 2 ? one : two, headers))
  t.strictSame(
    statuses.filter((status) => status === 200),
    Array(8).fill(200),
    'of twelve, four were used',
  )
  t.strictSame(
    [await statusOf(one, headers), await statusOf(two, headers)],
    [429, 429],
    'both refuse the next',
  )
})

t.test('of ten refreshes at once on two instances, at most one succeeds', { skip }, async (t) => {
  const start = await cluster(t)
  const apps = await Promise.all([start(), start()])
  for (let i = 0; i < 10; i++) {
    const { user, refresh_token } = dataOf(await post(apps[0], 'signup', person()))
    forget(t, user.id)
    const responses = await Promise.all(
      Array.from({ length: 10 }, (_, i) => refresh(apps[i % 2] as App, refresh_token)),
    )
    const given = responses.filter(({ statusCode }) => statusCode === 200)
    t.ok(given.length <= 1, 'at most one of ten succeeds')
    for (const response of given) {
      t.equal(
        (await refresh(apps[1], dataOf(response).refresh_token)).statusCode,
        401,
        'its refresh token was revoked, since a thief may have it',
      )
    }
  }
})

/** A deployment that is replaced instance by instance, and requests that never pause. */
async function underTraffic(t: Test, env: Record<string, string | undefined>) {
  const start = await cluster(t)
  const instances = await Promise.all([start(env), start(env)])
  let turn = 0

  /** Sends requests with this token to one instance after the other until stopped; then counts the answers. */
  function send(token: string) {
    const statuses = new Map<number, number>()
    const sender = { stopped: false }
    const loop = async () => {
      while (!sender.stopped) {
        turn += 1
        const status = await statusOf(instances[turn % instances.length] as App, bearer(token))
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
        await sleep(2)
      }
    }
    const done = loop()
    const stop = async () => {
      sender.stopped = true
      await done
      return statuses
    }
    t.teardown(stop)
    return { stop }
  }

  async function roll(env: Record<string, string | undefined>): Promise<void> {
    for (const i of instances.keys()) {
      const old = instances[i]
      instances[i] = await start(env)
      await sleep(100) // the mixed state, under traffic
      await old?.close()
    }
    await sleep(100)
  }

  return { instances, send, roll }
}

const onlyOk = (t: Test, statuses: Map<number, number>, what: string) => {
  t.strictSame([...statuses.keys()], [200], what)
  t.ok((statuses.get(200) ?? 0) > 10, `${what}: ${statuses.get(200)} requests`)
}

t.test('a secret is replaced under traffic', { skip }, async (t) => {
  const { instances, send, roll } = await underTraffic(t, { BETTER_AUTH_SECRET: SECRET })
  const { id, token: oldToken } = await identity()
  forget(t, id)
  const newToken = await mint({ sub: id }, NEW_SECRET)
  const old = send(oldToken)
  await sleep(100)
  for (const app of instances) t.equal(await statusOf(app, bearer(newToken)), 401, 'not yet')

  await roll({ BETTER_AUTH_SECRET: undefined, BETTER_AUTH_SECRETS: `2:${NEW_SECRET},1:${SECRET}` })
  const next = send(newToken)
  await sleep(200)
  onlyOk(t, await old.stop(), 'old tokens before and in the overlap')

  await roll({ BETTER_AUTH_SECRET: NEW_SECRET })
  onlyOk(t, await next.stop(), 'new tokens in the overlap and after it')
  const late = send(oldToken)
  await sleep(200)
  t.strictSame([...(await late.stop()).keys()], [401], 'old tokens after it')
})

t.test('the signing secret is replaced too, once all instances know it', { skip }, async (t) => {
  const { instances, send, roll } = await underTraffic(t, { BETTER_AUTH_SECRET: SECRET })
  const [one] = instances as [App, App]
  const { name, ...credentials } = person()
  const { user, token, refresh_token } = dataOf(await post(one, 'signup', { ...credentials, name }))
  forget(t, user.id)
  const first = send(token)

  await roll({ BETTER_AUTH_SECRETS: `${SECRET},${NEW_SECRET}` })
  const rolling = roll({ BETTER_AUTH_SECRET: undefined, BETTER_AUTH_SECRETS: `${NEW_SECRET},${SECRET}` })
  await sleep(150)
  const signed = await Promise.all(instances.map((app) => post(app, 'signin', credentials)))
  const middle = signed.map((response) => send(dataOf(response).token))
  await rolling
  onlyOk(t, await first.stop(), 'a token from before')
  for (const { stop } of middle) onlyOk(t, await stop(), 'a token from during the change')

  const last = dataOf(await refresh(instances[1] as App, refresh_token))
  const after = send(last.token)
  await roll({ BETTER_AUTH_SECRET: NEW_SECRET })
  onlyOk(t, await after.stop(), 'a token from after, for a refresh token from before')
  for (const app of instances)
    t.equal(await statusOf(app, bearer(token)), 401, 'the old token no longer works')
})
