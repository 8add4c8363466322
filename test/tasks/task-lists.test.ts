import type { LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import type { Task } from '../../schemas/task.ts'
import { build, identity } from '../helper/app.ts'
import { database } from '../helper/database.ts'
import { asRole } from '../helper/sql.ts'

/** An app, and one user's tasks in it. */
async function tasksOf(t: Test) {
  const app = await build(t)
  const { id, headers } = await identity()
  const get = (query: string) => app.inject({ url: `/todos?${query}`, headers })
  return {
    id,
    get,
    async add(tasks: object[]): Promise<Task[]> {
      return (await app.inject({ method: 'POST', url: '/todos/bulk', headers, payload: tasks })).json()
    },
    change: (task: Task, payload: object) =>
      app.inject({ method: 'PATCH', url: `/todos/${task.id}`, headers, payload }),
    titles: async (query: string) => {
      const response = await get(query)
      if (response.statusCode !== 200) return response.json().detail
      return response.json<Task[]>().map(({ title }) => title)
    },
    /** By the links, to the end. */
    async walk(start: string): Promise<Task[]> {
      const tasks: Task[] = []
      for (let url: string | undefined = `/todos?${start}`; url;) {
        const response: Response = await app.inject({ url, headers })
        t.equal(response.statusCode, 200, url)
        tasks.push(...response.json<Task[]>())
        url = /^<(.+)>; rel="next"$/.exec(String(response.headers.link ?? ''))?.[1]
      }
      return tasks
    },
  }
}

t.test('search finds plain words', async (t) => {
  const { add, titles } = await tasksOf(t)
  await add([
    { title: 'Buy MILK', description: 'Two litres, 100% fat' },
    { title: 'Купить МОЛОКО' },
    { title: 'Ärger & Grüße', description: 'naïve a_b c\\d' },
    { title: '買い牛乳🥛' },
    { title: 'Cafe\u0301' }, // e and a combining accent
    { title: 'it\'s "quoted" -not (or) *:& !' },
    { title: 'milk & honey | tea' },
  ])
  for (const [search, found] of [
    ['milk', ['milk & honey | tea', 'Buy MILK']],
    ['MILK buy', ['Buy MILK']],
    ['litres milk', ['Buy MILK']],
    ['ilk', ['milk & honey | tea', 'Buy MILK']],
    ['молоко', ['Купить МОЛОКО']],
    ['ÄRGER grüße', ['Ärger & Grüße']],
    ['NAÏVE', ['Ärger & Grüße']],
    ['牛乳', ['買い牛乳🥛']],
    ['🥛', ['買い牛乳🥛']],
    ['café', ['Cafe\u0301']],
    ['100%', ['Buy MILK']],
    ['%', ['Buy MILK']],
    ['a_b', ['Ärger & Grüße']],
    ['_', ['Ärger & Grüße']],
    ['\\', ['Ärger & Grüße']],
    ['c\\d', ['Ärger & Grüße']],
    ['-not', ['it\'s "quoted" -not (or) *:& !']],
    ['(or)', ['it\'s "quoted" -not (or) *:& !']],
    ["it's", ['it\'s "quoted" -not (or) *:& !']],
    ['"quoted"', ['it\'s "quoted" -not (or) *:& !']],
    ['*:&', ['it\'s "quoted" -not (or) *:& !']],
    ['| tea', ['milk & honey | tea']],
    ['milk -buy', []],
    ['milk bread', []],
    ['m%k', []],
    ["'; drop table tasks; --", []],
  ] as const)
    t.same(await titles(`search=${encodeURIComponent(search)}`), found, search)
  t.equal((await titles('search=%20%20')).length, 7, 'blanks alone are no search')
})

t.test('filters, alone and together', async (t) => {
  const { add, titles, get } = await tasksOf(t)
  await add([
    { title: 'a', priority: 'high', due_at: '2020-01-01', tags: ['Home', 'two words'] },
    { title: 'b', priority: 'high', due_at: '2020-01-02', tags: ['home'], completed: true },
    { title: 'c', priority: 'low', due_at: '9999-01-01', tags: ['WORK'] },
    { title: 'd', tags: ['homework'] },
    { title: 'e', due_at: '2020-01-01T00:00:00.001Z', description: 'a home' },
  ])
  for (const [query, found] of [
    ['priority=high', 'ba'],
    ['priority=medium', ''],
    ['priority=all', 'edcba'],
    ['tag=home', 'ba'],
    ['tag=HOME', 'ba'],
    ['tags=work', 'c'],
    ['tag=two%20words', 'a'],
    ['tag=%7B%7D', ''],
    ['due_before=2020-01-01', ''],
    ['due_before=2020-01-01T00:00:00.001Z', 'a'],
    ['due_before=2020-01-02T00:00:00Z', 'ea'],
    ['due_after=2020-01-01', 'ecb'],
    ['due_after=2020-01-01T01:00:00%2B01:00&due_before=2021-01-01', 'eb'],
    ['overdue=true', 'ea'],
    ['overdue=false', 'dcb'],
    ['status=pending&priority=high', 'a'],
    ['status=completed&overdue=true', ''],
    ['search=home', 'e'],
    ['tag=home&search=b', 'b'],
    ['completed=false&tag=home&due_before=2021-01-01&priority=high&overdue=true&search=A&sort=title', 'a'],
    ['due_after=2000-01-01&sort=due_at', 'aebc'],
    ['due_after=2000-01-01&sort=due_at&limit=1&skip=1', 'e'],
  ] as const) {
    t.equal((await titles(query)).join(''), found, query)
    const all = query.replace(/&(limit|skip)=1/g, '')
    const total = (await get(`${all}&limit=1&count=true`)).headers['x-total-count']
    t.equal(total, String((await titles(all)).length), 'as many are counted')
  }
})

t.test('each sort and order is total, with the tasks without last', async (t) => {
  const { id, add, change, walk, get, titles } = await tasksOf(t)
  const tasks = await add(
    Array.from({ length: 60 }, (_, i) => ({
      title: ['b', 'B', 'a', 'Ä', 'ä', '😀', 'z'][i % 7],
      priority: ['low', 'high', null, 'medium', null][i % 5],
      due_at: i % 3 ? `2026-01-0${(i % 4) + 1}` : null,
      completed: i % 2 === 0,
    })),
  )
  for (const task of tasks.slice(0, 20)) await change(task, { description: 'changed' })
  // What others write has microseconds.
  await asRole(
    await database(),
    { user: id },
    `update tasks set due_at = (due_at at time zone 'UTC' + '0.000123 seconds') at time zone 'UTC',
      updated_at = (updated_at at time zone 'UTC' + '0.0004 seconds') at time zone 'UTC' where id % 4 = 0 returning id`,
  )
  const rank = { low: 1, medium: 2, high: 3 }
  const by: Record<string, (task: Task) => string | number | null> = {
    created_at: ({ id }) => id,
    updated_at: ({ updated_at }) => updated_at,
    due_at: ({ due_at }) => due_at,
    priority: ({ priority }) => priority && rank[priority],
    title: ({ title }) => title.toLowerCase(),
  }
  const compare = (a: unknown, b: unknown) => Buffer.compare(Buffer.from(String(a)), Buffer.from(String(b)))
  const current = await walk('limit=1000')
  for (const [sort, value] of Object.entries(by)) {
    for (const order of ['asc', 'desc']) {
      const way = order === 'asc' ? 1 : -1
      const expected = current.toSorted((a, b) => {
        const [one, two] = [value(a), value(b)]
        if ((one === null) !== (two === null)) return one === null ? 1 : -1
        const ranks = typeof one === 'number' ? one - Number(two) : compare(one, two)
        return way * (ranks || a.id - b.id)
      })
      for (const limit of [1, 7, 60]) {
        const walked = await walk(`sort=${sort}&order=${order}&limit=${limit}`)
        t.same(
          walked.map(({ id }) => id),
          expected.map(({ id }) => id),
          `${sort} ${order} by ${limit}`,
        )
      }
      const pending = await walk(`sort_by=${sort}&order=${order}&limit=7&status=pending`)
      t.same(
        pending.map(({ id }) => id),
        expected.filter((task) => !task.completed).map(({ id }) => id),
        'with a filter',
      )
    }
  }
  t.same((await walk('sort=priority&limit=3'))[0]?.priority, 'high', 'the highest priority first')
  t.same(
    await titles('sort=due_date&limit=3'),
    await titles('sort=due_at&order=asc&limit=3'),
    'what is due first',
  )

  const cursorOf = async (query: string) =>
    /[?&]cursor=([^&>]+)/.exec(String((await get(`${query}&limit=2`)).headers.link))?.[1] ?? ''
  const cursor = await cursorOf('sort=title')
  t.equal((await get(`sort=title&cursor=${cursor}`)).statusCode, 200, 'a cursor is of its order')
  const [position = ''] = cursor.split('.')
  const made = (...parts: unknown[]) =>
    `${position}.${Buffer.from(JSON.stringify(parts)).toString('base64url')}`
  for (const query of [
    `sort=title&order=desc&cursor=${cursor}`,
    `sort=due_at&cursor=${cursor}`,
    `cursor=${cursor}`,
    `sort=title&cursor=${position}`,
    `sort=title&cursor=${cursor}=`,
    `sort=title&cursor=${cursor}.x`,
    `sort=title&cursor=0${cursor}`,
    `sort=title&cursor=${cursor.slice(0, -1)}`,
    `sort=due_at&cursor=${made('due_at', 'asc', 'soon')}`,
    `sort=due_at&cursor=${made('due_at', 'asc', '2026-01-01')}`,
    `sort=due_at&cursor=${made('due_at', 'asc', '0000-01-01T00:00:00.000Z')}`,
    `sort=due_at&cursor=${made('due_at', 'asc', '2026-02-30T00:00:00.000Z')}`,
    `sort=due_at&cursor=${made('due_at', 'asc', '2026-01-01 00:00:00.000Z')}`,
    `sort=updated_at&order=asc&cursor=${made('updated_at', 'asc', '2026-01-01T24:00:00.000Z')}`,
    `sort=due_at&cursor=${made('due_at', 'asc', 1)}`,
    `sort=due_at&cursor=${made('due_at', 'asc')}`,
    `sort=priority&cursor=${made('priority', 'desc', 'urgent')}`,
    `sort=title&cursor=${made('title', 'asc', 'nul \0')}`,
    `sort=created_at&order=asc&cursor=${made('created_at', 'asc', 'x')}`,
  ]) {
    t.match(await titles(query), 'cursor is not from a Link header of this order', query)
  }
})

t.test('a list holds the first and the last id that a task may have', async (t) => {
  const { id, get, walk } = await tasksOf(t)
  const ids = [1, Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER]
  for (const one of ids)
    await asRole(
      await database(),
      { user: id },
      `insert into tasks (user_id, id, title) overriding system value values ('${id}', ${one}, 'A task')`,
    )
  for (const [order, sorted] of [
    ['asc', ids],
    ['desc', ids.toReversed()],
  ] as const) {
    t.same(
      (await walk(`order=${order}&limit=1`)).map((task) => task.id),
      sorted,
      order,
    )
    t.equal((await get(`order=${order}`)).json().length, 3, 'without links')
  }
})

t.test('a query that is refused says what to send', async (t) => {
  const { titles } = await tasksOf(t)
  for (const [query, told] of [
    ['tag=a&tag=b', 'tag must be sent once'],
    ['sort=title&sort=title', 'sort must be sent once'],
    ['limit=1&limit=2', 'limit must be sent once'],
    ['due_before=2026-01-01T00:00:00+02:00', 'due_before must have its + as %2B: in a query + means a blank'],
    [
      'due_before=2026-02-30',
      'due_before must be a date such as 2026-01-31, or with a time and offset such as 2026-01-31T09:30:00Z',
    ],
  ] as const)
    t.equal(await titles(query), told, query)
})

t.test('ids that are asked for come in one answer, and a link is short enough to be taken', async (t) => {
  const { add, get } = await tasksOf(t)
  const ids = (await add(Array.from({ length: 120 }, () => ({ title: 'x' })))).map(({ id }) => id)
  const all = await get(`ids=${ids}`)
  t.equal(all.json().length, 120, 'more than an answer has by default')
  t.notOk(all.headers.link, 'so no page is left')
  t.match((await get(`ids=${ids}&limit=2`)).headers.link, `ids=${ids}&`, 'commas in a link are not escaped')
  const others = Array.from({ length: 400 }, (_, i) => Number.MAX_SAFE_INTEGER - i)
  const some = await get(`ids=${[...ids, ...others]}&limit=100`)
  t.equal(some.json().length, 100)
  t.notOk(some.headers.link, 'a link that is too long is not sent')
  t.equal(
    (await get(`ids=${[...ids, ...others]}&limit=100&skip=100`)).json().length,
    20,
    'skip reaches the rest',
  )
})

t.test('a page that others change meanwhile neither skips nor repeats a task', async (t) => {
  const { add, change, get } = await tasksOf(t)
  const tasks = await add(Array.from({ length: 9 }, (_, i) => ({ title: `t${i}`, priority: 'low' })))
  const first = await get('sort=priority&order=asc&limit=3')
  const next = /^<\/todos\?(.+)>;/.exec(String(first.headers.link))?.[1] ?? ''
  await change(tasks[0] as Task, { priority: 'high' }) // was on the page before
  await add([{ title: 'new', priority: 'low' }])
  t.same(
    (await get(next.replace('limit=3', 'limit=20'))).json<Task[]>().map(({ title }) => title),
    ['t3', 't4', 't5', 't6', 't7', 't8', 'new', 't0'],
    'all that come behind',
  )
})
