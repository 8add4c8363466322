import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { type Browser, chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import { build, identity } from '../helper/app.ts'
import { listen, serve } from '../helper/http.ts'

const CHROMIUM = '/usr/bin/chromium'
const skip = existsSync(CHROMIUM) ? false : `no ${CHROMIUM}: install it with apt-get install chromium`

let browser: Browser
t.before(async () => {
  if (skip) return
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
})
t.teardown(() => browser?.close())

/** A front end on its own origin. */
async function openFrontEnd(t: Test) {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>front end</title>')
  })
  const origin = `http://localhost:${await listen(t, server)}`
  const context = await browser.newContext()
  const page = await context.newPage()
  t.teardown(() => context.close())
  await page.goto(origin)

  /** What a script on the page can read of an answer; undefined if the browser hides it. */
  const call = (
    url: string,
    init: { method?: string; headers?: Record<string, string>; body?: string } = {},
  ) =>
    page.evaluate(
      async ([url, init]) => {
        try {
          const response = await fetch(url, { ...init, credentials: 'include' })
          const { status, headers } = response
          return { status, headers: Object.fromEntries(headers), body: (await response.json()) as any }
        } catch {
          return undefined
        }
      },
      [url, init] as const,
    )
  return { origin, call }
}

async function startApp(t: Test, FRONTEND_URL: string): Promise<string> {
  return (await serve(await build(t, { env: { FRONTEND_URL } }))).url
}

t.test('a page of a listed origin', { skip }, async (t) => {
  const { origin, call } = await openFrontEnd(t)
  const api = await startApp(t, `https://app.example.com,${origin}/`)
  const { id, headers } = await identity()
  const json = { ...headers, 'content-type': 'application/json' }

  const created = await call(`${api}/api/${id}/tasks`, {
    method: 'POST',
    headers: json,
    body: JSON.stringify({ title: 'Buy milk 😀' }),
  })
  t.match(created, { status: 201, body: { title: 'Buy milk 😀', user_id: id } }, 'a task is created')
  t.equal(created?.headers.location, `/api/${id}/tasks/${created?.body.id}`, 'Location can be read')
  t.ok(created?.headers['x-request-id'], 'X-Request-Id can be read')
  const at = `${api}${created?.headers.location}`

  const listed = await call(`${api}/todos`, { headers: { ...headers, prefer: 'count=exact' } })
  t.match(
    listed,
    { status: 200, body: [created?.body], headers: { 'x-total-count': '1' } },
    'the list and its count can be read',
  )
  await call(`${api}/todos`, { method: 'POST', headers: json, body: '{"title":"Buy bread"}' })
  const page = await call(`${api}/todos?limit=1&count=true`, { headers })
  t.match(
    page?.headers,
    { link: /^<\/todos\?.+>; rel="next"$/, 'x-total-count': '2' },
    'Link and count can be read',
  )

  const changed = await call(at, { method: 'PUT', headers: json, body: '{"title":"Buy oat milk"}' })
  t.match(changed, { status: 200, body: { title: 'Buy oat milk' } }, 'PUT passes its preflight')
  t.match(
    await call(`${at}/toggle`, { method: 'PATCH', headers }),
    {
      status: 200,
      body: { completed: true },
    },
    'PATCH passes its preflight',
  )
  t.match(await call(at, { method: 'DELETE', headers }), { status: 200 }, 'DELETE passes its preflight')

  const problems: [status: number, code: string, answer: Awaited<ReturnType<typeof call>>][] = [
    [401, 'missing_token', await call(`${api}/todos`)],
    [401, 'invalid_token', await call(`${api}/todos`, { headers: { authorization: 'Bearer x' } })],
    [403, 'forbidden', await call(`${api}/api/another/tasks`, { headers })],
    [404, 'task_not_found', await call(at, { headers })],
    [405, 'method_not_allowed', await call(`${api}/todos`, { method: 'PUT', headers })],
    [415, 'unsupported_media_type', await call(`${api}/todos`, { method: 'POST', headers, body: 'x' })],
    [422, 'validation_failed', await call(`${api}/todos`, { method: 'POST', headers: json, body: '{}' })],
    [400, 'malformed_url', await call(`${api}/%E0%A4%A`)],
  ]
  for (const [status, code, answer] of problems)
    t.match(answer, { status, body: { code } }, `${status} ${code} can be read`)
})

t.test('a page of another origin', { skip }, async (t) => {
  const { call } = await openFrontEnd(t)
  const api = await startApp(t, 'http://localhost:1')
  const { headers } = await identity()
  for (const url of ['/', '/health', '/todos', '/%E0%A4%A']) {
    t.equal(await call(`${api}${url}`), undefined, `${url} is hidden from it`)
    t.equal(await call(`${api}${url}`, { headers }), undefined, `${url} with a token is hidden from it`)
  }
  const body = '{"title":"x"}'
  const post = { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body }
  t.equal(await call(`${api}/todos`, post), undefined, 'the answer to a POST is hidden from it')
  const { length } = (await (await fetch(`${api}/todos`, { headers })).json()) as unknown[]
  t.equal(length, 0, 'the preflight prevented the write')
})

t.test('Swagger UI', { skip }, async (t) => {
  const api = await startApp(t, 'https://app.example.com')
  const { id, token } = await identity()
  const context = await browser.newContext({ viewport: { width: 1280, height: 1000 } })
  t.teardown(() => context.close())
  const page = await context.newPage()
  page.setDefaultTimeout(120_000)
  const complaints: string[] = []
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('requestfailed', (request) => complaints.push(`${request.url()} failed`))
  page.on('request', (request) => {
    if (!request.url().startsWith(api) && !request.url().startsWith('data:'))
      complaints.push(`${request.url()} was asked for`)
  })

  await page.goto(`${api}/docs`)
  await page.locator('.opblock').first().waitFor()
  t.match(await page.locator('.info .title').innerText(), /^taskward/, 'the title is there')
  t.match(
    await page.evaluate(
      `getComputedStyle(document.querySelector('.opblock-summary-method')).backgroundColor`,
    ),
    /^rgb\((?!0, 0, 0)/,
    'its styles apply',
  )

  await page.locator('.auth-wrapper .authorize').first().click()
  await page.locator('.dialog-ux input[type=text]').fill(token)
  await page.locator('.dialog-ux .modal-btn.authorize').click()
  await page.locator('.dialog-ux .btn-done').click()

  /** Opens an operation of the page, fills in its parameters and executes it: its status and its body. */
  const execute = async (method: string, path: string, parameters: Record<string, string> = {}) => {
    const operation = page
      .locator(`.opblock-${method}`)
      .filter({ has: page.locator(`[data-path="${path}"]`) })
    await operation.locator('.opblock-summary-control').click()
    for (const [name, value] of Object.entries(parameters))
      await operation.locator(`tr[data-param-name="${name}"] input`).fill(value)
    await operation.locator('.execute').click()
    const answer = operation.locator('.live-responses-table .response').first()
    await answer.waitFor()
    const status = await answer.locator('.response-col_status').innerText()
    const { height } = (await operation.boundingBox()) ?? {}
    t.ok(height && height < 3000, `${method} ${path} is ${height} px high`)
    return {
      status: Number.parseInt(status, 10),
      body: await answer.locator('.highlight-code').first().innerText(),
    }
  }
  const made = await execute('post', '/todos')
  t.equal(made.status, 201, 'the proposed task is made')
  t.match(made.body, id, 'the answer names the user')
  const task = /"id": (\d+)/.exec(made.body)?.[1] as string
  const listed = await execute('get', '/todos')
  t.equal(listed.status, 200, 'the list executes as it is proposed')
  t.match(listed.body, `"id": ${task}`, 'it has the task')
  const toggled = await execute('patch', '/todos/{id}/toggle', { id: task })
  t.equal(toggled.status, 200, 'toggle executes as it is proposed')
  t.match(toggled.body, '"completed": true', 'and the task is toggled')
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true })

  const phone = await browser.newContext({ viewport: { width: 390, height: 844 }, isMobile: true })
  t.teardown(() => phone.close())
  const small = await phone.newPage()
  await small.goto(`${api}/docs`)
  await small.locator('.opblock').first().waitFor()
  t.equal(await small.evaluate('innerWidth'), 390, 'a phone shows the page in its own width')
  t.ok((await small.evaluate<number>('document.documentElement.scrollWidth')) <= 390, 'nothing is wider')
  if (process.env.SCREENSHOT)
    await small.screenshot({ path: `${process.env.SCREENSHOT}.phone.png`, fullPage: true })
  t.same(complaints, [], 'no error on the console, and no request to another address')
})
