// Drives examples/next in a browser. Not part of `npm test`, because it installs packages: npm run test:example
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import packageJson from '../../examples/next/package.json' with { type: 'json' }
import { Child, emptyFolder, ROOT } from '../helper/child.ts'
import { bearer, freePort, listen } from '../helper/http.ts'

// npm trusts the authorities that this machine trusts.
const { PATH, HOME, NODE_EXTRA_CA_CERTS } = process.env
const PASSWORD: string = randomUUID()

const example = (t: Test, ...args: string[]) =>
  new Child(t, ['run.js', 'examples/run.ts', ...args], { PATH, HOME, NODE_EXTRA_CA_CERTS }, ROOT)

let front: string
let api: string
let ports: string[]
let running: Child
let browser: Browser
let browsers = 0
t.before(async () => {
  const [port, tasksPort] = [String(await freePort(t)), String(await freePort(t))]
  front = `http://localhost:${port}`
  api = `http://localhost:${tasksPort}`
  ports = ['--port', port, '--tasks-port', tasksPort]
  running = example(t, ...ports, '--production', '--data', emptyFolder(t))
  await running.printed(RegExp(`^Open ${front} `))
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'],
  })
})
t.teardown(() => browser?.close())

for (const [option, other] of [
  ['--port', '--tasks-port'],
  ['--tasks-port', '--port'],
] as const) {
  t.test(`a taken port: ${option}`, async (t) => {
    const taken = String(await listen(t, createServer()))
    const { code, stderr, stdout } = await example(t, option, taken, other, String(await freePort(t))).ended
    t.equal(code, 1)
    t.match(stderr, RegExp(`^taskward: Port ${taken} is taken [^\\n]+ -- ${option} \\d+\\n$`))
    t.equal(stdout, '', 'nothing was started')
  })
}

t.test('an option that there is not', async (t) => {
  const { code, stderr } = await example(t, '--color').ended
  t.equal(code, 2)
  t.match(stderr, /\n\nUsage: npm run example /)
})

/** A browser of somebody's own. */
async function openBrowser(t: Test) {
  const context = await browser.newContext()
  context.setDefaultTimeout(120_000)
  t.teardown(() => context.close())
  // Better Auth allows three sign-ups from an address in ten seconds.
  const address = { 'x-forwarded-for': `192.0.2.${++browsers}` }
  await context.route('**/api/auth/sign-up/email', (route, request) =>
    route.continue({ headers: { ...request.headers(), ...address } }),
  )
  const complaints: string[] = []
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  context.on('weberror', (error) => complaints.push(String(error.error())))
  context.on('request', (request) => {
    const { origin } = new URL(request.url())
    if (origin !== front && origin !== api) complaints.push(`${request.url()} was asked for`)
  })
  return { context, complaints, page: await context.newPage() }
}

async function signUp(page: Page, name: string) {
  const email = `${randomUUID()}@example.com`
  await page.goto(`${front}/sign-up`)
  await page.getByLabel('Name').fill(name)
  await fillIn(page, email)
  await arrive(page, () => page.getByRole('button', { name: 'Sign up' }).click())
  await page.getByText(name, { exact: true }).waitFor()
  return email
}

/** Goes to the list, and waits until its scripts work: they ask for the session. */
async function arrive(page: Page, go: () => Promise<unknown>) {
  await Promise.all([page.waitForResponse(`${front}/api/auth/get-session`), go()])
}

async function fillIn(page: Page, email: string, password = PASSWORD) {
  await page.getByLabel('E-mail').fill(email)
  await page.getByLabel('Password').fill(password)
}

async function signOut(page: Page) {
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('heading', { name: 'Welcome back' }).waitFor()
}

async function add(page: Page, title: string) {
  await page.getByLabel('New task').fill(title)
  await page.getByLabel('New task').press('Enter')
  await page.getByRole('checkbox', { name: title }).waitFor()
}

/** The titles on the page, with what is done in brackets. */
const list = async (page: Page) =>
  page.getByRole('listitem').evaluateAll((items) =>
    items.map((item) => {
      const title = item.querySelector('label')?.textContent
      return item.querySelector(':checked') ? `[${title}]` : title
    }),
  )

/** What the server sends, before any script has run. */
const html = async (context: BrowserContext) => (await context.request.get(front)).text()

t.test('the day of a user', async (t) => {
  const { context, page, complaints } = await openBrowser(t)
  await page.goto(front)
  t.equal(page.url(), `${front}/sign-in`, 'a stranger is asked to sign in')
  await page.getByRole('link', { name: 'Create one' }).click()
  const email = await signUp(page, 'Ada')
  t.match(await page.getByRole('main').innerText(), /Nothing to do\./, 'there are no tasks')

  await add(page, 'Buy milk')
  await add(page, 'Write <b>tests</b>')
  await add(page, 'Call Bob')
  t.same(await list(page), ['Call Bob', 'Write <b>tests</b>', 'Buy milk'], 'newest first')
  t.equal(await page.getByLabel('New task').inputValue(), '', 'the field is empty again')
  t.equal(await page.locator('p[aria-live]').innerText(), 'Added: Call Bob', 'it is read out')

  await page.getByRole('checkbox', { name: 'Buy milk' }).click()
  await page.getByText('Done: Buy milk').waitFor()
  await page.getByRole('button', { name: 'Delete Call Bob' }).dblclick()
  await page.getByText('Deleted: Call Bob').waitFor()
  const left = ['Write <b>tests</b>', '[Buy milk]']
  t.same(await list(page), left, 'one is done, and one is deleted')
  t.equal(await page.evaluate('document.activeElement.textContent'), 'Your tasks', 'the focus is not lost')
  t.equal(await page.getByRole('main').getByRole('alert').innerText(), '', 'a double click is one')

  const sent = await html(context)
  t.ok(sent.includes('Buy milk') && !sent.includes('Call Bob'), 'the HTML has the tasks')
  t.notMatch(sent, /eyJ/, 'and no token')
  await arrive(page, () => page.reload())
  t.same(await list(page), left, 'they are there again after a reload')
  t.same(complaints, [], 'no error on the console, and no request to another address')

  await page.getByLabel('New task').fill('   ')
  await page.getByLabel('New task').press('Enter')
  await page.getByText('title must not be blank').waitFor()
  t.pass('the detail of a failure is on the page')
  t.equal(await page.getByLabel('New task').inputValue(), '   ', 'what was typed stays')

  await signOut(page)
  await page.goBack()
  await page.getByRole('heading', { name: 'Create an account' }).waitFor()
  t.pass('the page before is no longer the list')
  await page.goto(front)
  t.equal(page.url(), `${front}/sign-in`)

  await fillIn(page, email, 'not the password')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByText('Invalid email or password').waitFor()
  t.equal(await page.getByLabel('E-mail').inputValue(), email, 'the address stays')
  await fillIn(page, email)
  await arrive(page, () => page.getByRole('button', { name: 'Sign in' }).click())
  t.same(await list(page), left, 'they are there again after a sign-in')
  t.match(complaints, [/status of 422/, /status of 401/], 'the two refusals alone are on the console')
})

t.test('priority, due date, tags and search', async (t) => {
  const { page, complaints } = await openBrowser(t)
  await signUp(page, 'Beth')
  await page.getByLabel('Priority').selectOption('high')
  await page.getByLabel('Due').fill('2020-02-29')
  await page.getByLabel('Tags').fill('Home, home,urgent, ')
  await add(page, 'Buy milk')
  await add(page, 'Call Bob')
  const details = () => page.locator('.details').allInnerTexts()
  const shown = (await details()).map((text) => text.split(/\s*\n\s*/))
  t.same(shown, [['high', 'overdue 2020-02-29', 'Home', 'urgent']])
  t.equal(await page.getByLabel('Tags').inputValue(), '', 'the fields are empty again')
  t.equal(await page.getByLabel('Priority').inputValue(), '')

  await page.getByLabel('Search').fill('MILK buy')
  await page.getByLabel('Search').press('Enter')
  await page.getByText('Found: 1').waitFor()
  t.same(await list(page), ['Buy milk'], 'found by its words')
  await page.getByLabel('Search').fill('%')
  await page.getByRole('button', { name: 'Search' }).click()
  await page.getByText('No task has “%” in it.').waitFor()
  await add(page, 'Pay rent')
  t.same(await list(page), ['Pay rent', 'Call Bob', 'Buy milk'], 'a new task ends the search')
  t.equal(await page.getByLabel('Search').inputValue(), '')
  await page.getByLabel('Search').fill(' ')
  await page.getByRole('button', { name: 'Search' }).click()
  await page.getByText('All tasks').waitFor()
  t.same(await list(page), ['Pay rent', 'Call Bob', 'Buy milk'], 'all of them')
  await page.getByRole('checkbox', { name: 'Buy milk' }).click()
  await page.getByText('due 2020-02-29', { exact: true }).waitFor()
  t.pass('what is done is not overdue')
  await arrive(page, () => page.reload())
  t.equal((await details()).length, 1, 'they are there again after a reload')
  t.same(complaints, [])
})

t.test('two users at once', async (t) => {
  const users = await Promise.all(
    ['Bert', 'Cleo'].map(async (name) => {
      const { context, page } = await openBrowser(t)
      await signUp(page, name)
      await add(page, `A secret of ${name}`)
      return { context, page, name }
    }),
  )
  for (let round = 0; round < 20; round++) {
    const pages = await Promise.all(users.map(({ context }) => html(context)))
    const names = pages.map((page) => [...new Set(page.match(/(?<=A secret of )\w+/g))].join())
    t.same(names, ['Bert', 'Cleo'], 'the server reads for each user with their own token')
  }
  for (const { page, name } of users) {
    await arrive(page, () => page.reload())
    t.same(await list(page), [`A secret of ${name}`])
  }
})

t.test('another user of the same browser', async (t) => {
  const { context, page, complaints } = await openBrowser(t)
  await signUp(page, 'Dora')
  await add(page, 'A secret of Dora')
  const other = await context.newPage()
  await arrive(other, () => other.goto(front))
  t.same(await list(other), ['A secret of Dora'], 'a second tab')

  await signOut(page)
  await other.getByRole('heading', { name: 'Welcome back' }).waitFor()
  t.pass('signs out with the first')

  await signUp(page, 'Emil')
  t.match(await page.getByRole('main').innerText(), /Nothing to do\./, 'the next user has no tasks')
  await add(page, 'A secret of Emil')
  t.same(await list(page), ['A secret of Emil'])

  await other.goto(front)
  t.same(await list(other), ['A secret of Emil'], 'in each tab')
  t.same(complaints, [])
})

t.test('a tab that did not hear of the next user', async (t) => {
  const { context, page } = await openBrowser(t)
  await signUp(page, 'Fred')
  await add(page, 'A secret of Fred')
  await page.route('**/api/auth/get-session', (route) => route.abort())
  await context.clearCookies()
  const other = await context.newPage()
  await signUp(other, 'Gina')

  await page.clock.install()
  await page.clock.fastForward('20:00') // the token that it has expires
  await page.getByLabel('New task').fill('Meant for Fred')
  await page.getByLabel('New task').press('Enter')
  await page.getByText('The path names another user than the token.').waitFor()
  await other.reload()
  t.match(await other.getByRole('main').innerText(), /Nothing to do\./, 'writes nothing for them')
})

t.test('tokens', async (t) => {
  const { page, complaints } = await openBrowser(t)
  let fetched = 0
  page.on('request', (request) => {
    if (request.url().endsWith('/api/auth/token')) fetched++
  })
  await page.clock.install()
  await signUp(page, 'Hugo')
  t.equal(fetched, 0, 'the list comes without one')
  await add(page, 'one')
  await add(page, 'two')
  t.equal(fetched, 1, 'one is fetched for the first call, and kept')
  await page.clock.fastForward('13:30')
  await add(page, 'three')
  t.equal(fetched, 1, 'for 14 minutes')
  await page.clock.fastForward('00:45')
  await add(page, 'four')
  t.equal(fetched, 2, 'and fetched again a minute before it expires')
  t.same(complaints, [])
})

t.test('more tasks than fit on a page', async (t) => {
  const { page, complaints } = await openBrowser(t)
  await signUp(page, 'Ines')
  const { token } = await page.evaluate<{ token: string }>(`fetch('/api/auth/token').then((r) => r.json())`)
  const headers = { ...bearer(token), 'content-type': 'application/json' }
  for (let i = 1; i <= 51; i++) {
    const body = JSON.stringify({ title: `Task ${i}` })
    await fetch(`${api}/todos`, { method: 'POST', headers, body })
  }
  await arrive(page, () => page.reload())
  const all = Array.from({ length: 51 }, (_, i) => `Task ${51 - i}`)
  t.same(await list(page), all.slice(0, 50))
  await page.getByRole('button', { name: 'Show more' }).click()
  await page.getByText('Task 1', { exact: true }).waitFor()
  t.same(await list(page), all)
  t.equal(await page.getByRole('button', { name: 'Show more' }).count(), 0, 'there is no more')
  t.same(complaints, [])
})

t.test('the types are those of the document', async (t) => {
  const cwd = join(ROOT, 'examples/next')
  const command = packageJson.scripts.types.replace('http://localhost:8000', api)
  const env = { PATH: `${join(cwd, 'node_modules/.bin')}:${PATH}` }
  await promisify(execFile)('sh', ['-c', `${command} --check`], { cwd, env }).catch(({ stderr }) => {
    t.fail(`lib/openapi.d.ts is out of date: npm run types, in examples/next\n${stderr}`)
  })
})

t.test('both end with it', async (t) => {
  await browser.close()
  const { code, stderr } = await running.stop()
  t.equal(code, 0)
  t.notMatch(stderr, /^taskward:/m, 'and complains of nothing')
  await t.rejects(fetch(front), 'the front end has ended')
  await t.rejects(fetch(api), 'taskward has ended')
})

t.test('it ends with either', async (t) => {
  const dev = example(t, ...ports, '--data', emptyFolder(t))
  await dev.printed(RegExp(`^Open ${front} `))
  t.match(await (await fetch(`${front}/sign-in`)).text(), /Welcome back/, 'the development server works')

  const { pid = 0 } = dev.process
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
  const taskward = children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('server.ts'))
  process.kill(Number(taskward), 'SIGKILL')
  const { code, stderr } = await dev.ended
  t.equal(code, 1)
  t.match(stderr, /^taskward: taskward has ended\.$/m)
  await t.rejects(fetch(front), 'the front end has ended')
})
