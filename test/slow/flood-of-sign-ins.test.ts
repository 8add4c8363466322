import type { LightMyRequestResponse as Response } from 'fastify'
import t from 'tap'
import { PASSWORD, person, post, signUp } from '../helper/accounts.ts'
import { build } from '../helper/app.ts'
import { refusal } from '../helper/http.ts'

const quantile = (values: number[], q: number) =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * q)] as number

/** Milliseconds that a request takes, sent every 20 ms until `done`. */
async function sample(done: Promise<unknown>, request: () => Promise<Response>) {
  const answers: Promise<{ ms: number; status: number }>[] = []
  const once = async () => {
    const started = performance.now()
    const { statusCode: status } = await request()
    return { ms: performance.now() - started, status }
  }
  const timer = setInterval(() => answers.push(once()), 20)
  await done
  clearInterval(timer)
  return Promise.all(answers)
}

t.test('a flood of sign-ins does not stop the others', async (t) => {
  const app = await build(t, { env: { BCRYPT_COST: '10' } })
  const ada = await signUp(app)
  const attempts = Array.from({ length: 40 }, (_, i) => ({
    email: i % 3 ? ada.email : person().email,
    password: i % 3 === 1 ? PASSWORD : 'not the password',
  }))
  const flood = Promise.all(attempts.map((attempt) => post(app, 'signin', attempt)))
  const [signIns, health, todos] = await Promise.all([
    flood,
    sample(flood, () => app.inject('/health')),
    sample(flood, () => app.inject({ url: '/todos', headers: ada.headers })),
  ])

  const counts = Map.groupBy(signIns, ({ statusCode }) => statusCode)
  t.comment(
    `sign-ins by status: ${[...counts].map(([status, { length }]) => `${status}: ${length}`).join(', ')}`,
  )
  t.strictSame(
    [...counts.keys()].filter((status) => ![200, 401, 503].includes(status)),
    [],
    'no other status',
  )
  t.ok(counts.has(200) && counts.has(401), 'some signed in and some were refused')
  for (const response of counts.get(503) ?? []) {
    t.match(response.headers['retry-after'], /^[1-9]\d*$/, '503 says when to try again')
    t.equal(refusal(response)[1], 'busy', '503 says why')
  }
  for (const [name, answers] of Object.entries({ 'GET /health': health, 'GET /todos': todos })) {
    t.ok(answers.length > 0 && answers.every(({ status }) => status === 200), `${name} answered`)
    const times = answers.map(({ ms }) => ms)
    const [p50, p99] = [0.5, 0.99].map((q) => quantile(times, q).toFixed(1))
    t.comment(`${name}: ${times.length} requests, p50 ${p50} ms, p99 ${p99} ms`)
  }
})
