import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'

/** Runs `npm run -s prove`, without npm. */
async function run(input: string, ...args: string[]) {
  const child = spawn(process.execPath, ['src/cli.ts', 'prove', ...args], { stdio: 'pipe' })
  const texts = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text) => (texts[0] += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (texts[1] += text))
  child.stdin.end(input)
  const [code] = await once(child, 'close')
  return { code, out: texts[0] as string, err: texts[1] as string }
}

const answers = (out: string) =>
  out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

t.test('answers each statement with a line of JSON', async (t) => {
  const bound = 'select id from tasks where user_id = $1'
  const { code, out } = await run(
    `${bound}\r\n\r\n   \nselect id from tasks\nselec\n${bound} and title <> '\u2028é';`,
  )
  t.same(answers(out), [
    { ok: true },
    {
      ok: false,
      why: 'tasks is not bound to its owner: add "tasks.user_id = $1" to the WHERE of the query that names it',
    },
    { ok: false, why: 'PostgreSQL\'s parser cannot read it: syntax error at or near "selec"' },
    { ok: true },
  ])
  t.equal(code, 1)
})

t.test('exits with 0 if all are proved, and writes nothing else', async (t) => {
  const { code, out, err } = await run('select id from tasks where user_id = $1\n')
  t.same({ code, out, err }, { code: 0, out: '{"ok":true}\n', err: '' })
  t.same(await run(''), { code: 0, out: '', err: '' })
})

t.test('accepts tables, owner columns and functions as options', async (t) => {
  const input = [
    'select n.id from notes n join shares s on true where n.org_id = $1 and n.user_id = $2',
    'select n.id from notes n where n.user_id = $2',
    'select id from tasks where org_id = $1 and user_id = $2',
    'select slug(id) from shares',
  ].join('\n')
  const options = [
    '--owned',
    'notes',
    '--shared',
    'shares',
    '--owner',
    'org_id,user_id',
    '--functions',
    'slug',
  ]
  const { code, out } = await run(input, ...options)
  t.same(
    answers(out).map(({ ok }) => ok),
    [true, false, false, true],
  )
  t.equal(code, 1)
})

t.test('prints its usage', async (t) => {
  const help = await run('', '--help')
  t.match(help, { code: 0, out: /^Usage:/, err: '' })
  for (const args of [['--bogus'], ['tasks'], ['--owned'], ['--owner', ',']]) {
    const { code, out, err } = await run('select 1', ...args)
    t.equal(code, 2, args.join(' '))
    t.equal(out, '')
    t.match(err, /Usage:/)
  }
})
