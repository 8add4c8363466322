import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Task } from '../../schemas/task.ts'
import { build, identity } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { asRole } from '../helper/sql.ts'

t.test('what is sent, and what is answered', async (t) => {
  const app = await build(t)
  const { headers } = await identity()
  const post = async (payload: object) => {
    const response = await app.inject({
      method: 'POST',
      url: '/todos',
      headers,
      payload: { title: 'x', ...payload },
    })
    t.equal(response.statusCode, 201, JSON.stringify(payload))
    const task = response.json<Task>()
    t.same(
      (await app.inject({ url: `/todos/${task.id}`, headers })).json(),
      task,
      'read again it is the same',
    )
    return task
  }
  const none = { completed: false, priority: null, due_at: null, due_date: null, tags: [] }
  const due = (due_at: string) => ({ due_at, due_date: due_at })
  for (const [sent, answered] of [
    [{}, none],
    [{ priority: null, due_at: null, due_date: null, tags: null }, none],
    [{ priority: '', due_at: '', tags: [''] }, none],
    [{ due_date: '' }, none],
    [{ priority: 'low' }, { priority: 'low' }],
    [{ priority: 'high' }, { priority: 'high' }],
    [{ due_at: '2026-12-01' }, due('2026-12-01T00:00:00.000Z')],
    [{ due_date: '2026-12-01' }, due('2026-12-01T00:00:00.000Z')],
    [{ due_date: '2026-12-01', due_at: '2027-01-01' }, due('2027-01-01T00:00:00.000Z')],
    [{ due_at: '2026-12-01T17:00:00+02:00' }, due('2026-12-01T15:00:00.000Z')],
    [{ due_at: '2026-12-01t17:00:00.123456z' }, due('2026-12-01T17:00:00.123Z')],
    [{ due_at: '0001-01-01' }, due('0001-01-01T00:00:00.000Z')],
    [{ due_at: '9999-12-31T23:59:59.999Z' }, due('9999-12-31T23:59:59.999Z')],
    [{ tags: [' Home ', 'home', 'HOME', 'work'] }, { tags: ['Home', 'work'] }],
    [
      { tags: ['ÄRGER', 'ärger', ' ', 'a "b" {c}, \\d', 'null'] },
      { tags: ['ÄRGER', 'a "b" {c}, \\d', 'null'] },
    ],
    [{ tags: ['😀'.repeat(50), ` ${'y'.repeat(50)} `] }, { tags: ['😀'.repeat(50), 'y'.repeat(50)] }],
    [
      { tags: Array.from({ length: 20 }, (_, i) => `${i}`) },
      { tags: Array.from({ length: 20 }, (_, i) => `${i}`) },
    ],
    [{ status: 'completed' }, { completed: true }],
    [{ status: 'pending' }, { completed: false }],
    [{ is_completed: true }, { completed: true }],
    [{ completion_status: true }, { completed: true }],
    [{ completed: false, status: 'completed', is_completed: true }, { completed: false }],
  ] as [object, Partial<Task>][]) {
    const task = await post(sent)
    t.same(
      Object.fromEntries(Object.keys(answered).map((name) => [name, task[name as keyof Task]])),
      answered,
      'as told',
    )
  }

  const { id } = await post({ priority: 'low', due_at: '2026-12-01', tags: ['home'], description: 'y' })
  const patch = async (payload: object) =>
    (await app.inject({ method: 'PATCH', url: `/todos/${id}`, headers, payload })).json<Task>()
  const kept = { priority: 'low', due_at: '2026-12-01T00:00:00.000Z', tags: ['home'], description: 'y' }
  t.match(await patch({ title: 'z' }), kept, 'what is not sent stays')
  t.match(await patch({ priority: 'medium' }), { ...kept, title: 'z', priority: 'medium' })
  t.match(await patch({ due_date: null }), { due_at: null, priority: 'medium', tags: ['home'] })
  t.match(await patch({ tags: [] }), { due_at: null, priority: 'medium', description: 'y' })
  const cleared = await patch({ priority: '', description: null })
  t.match(cleared, { priority: null, description: null, title: 'z', completed: false })
  t.same(cleared.tags, [], 'each alone')
  t.equal((await patch({ status: 'completed' })).completed, true, 'status is completed')
})

t.test('an Idempotency-Key keeps what was sent', async (t) => {
  const app = await build(t)
  const { id: user, headers } = await identity()
  const post = (payload: object, key: string) =>
    app.inject({ method: 'POST', url: '/todos', headers: { ...headers, 'idempotency-key': key }, payload })
  const key = randomUUID()
  const body = { title: 'x', priority: 'high', due_date: '2026-12-01', tags: ['Home', 'home'] }
  const first = await post(body, key)
  const again = await post(
    { ...body, due_date: undefined, due_at: '2026-12-01T00:00:00Z', tags: ['Home'] },
    key,
  )
  t.same([again.statusCode, again.body], [201, first.body], 'the same values are the same request')
  t.equal(again.headers['idempotency-replayed'], 'true', 'which is repeated')
  for (const other of [{ priority: 'low' }, { due_date: '2026-12-02' }, { tags: ['home'] }, { tags: [] }])
    t.equal((await post({ ...body, ...other }, key)).statusCode, 422, `${JSON.stringify(other)} is another`)

  // As the release before these fields has hashed it: SHA-256 of ["tasks",{"title":"x","description":null,"completed":false}].
  await post({ title: 'x' }, 'before')
  const [row] = await asRole(
    await database(),
    { user },
    "select request from idempotency_keys where key = 'before'",
  )
  t.equal(
    row?.request,
    'wiazW0pEH7Uc2Bi5d72IIy-HEvZ_QDSNbUr-8boJa-M',
    'a repetition may come to either release',
  )
})
