import t from 'tap'
import { explain } from '../../src/process/index.ts'
import { olderVariables } from '../../src/older-variables.ts'
import { SECRET } from '../helper/app.ts'
import { CLI, fails, PASSWORD, run, start } from '../helper/child.ts'
import { command } from '../helper/commands.ts'
import { migratedUrl } from '../helper/database.ts'

t.test('what is not understood prints the usage, with exit code 2', async (t) => {
  for (const [args, what] of [
    [['migrate', '--', 'down'], 'down'],
    [['migrate', '--down'], '--down'],
    [['doctor', 'x'], 'x'],
    [['doctor', '--tokn', 'x'], '--tokn'],
    [['doctor', '--token'], '--token'],
    [['doctor', '--token', ' '], '--token is empty'],
    [['doctor', '--token', '-'], '--token is empty'],
    [['token', 'ada'], 'ada'],
    [['prove', '--x'], '--x'],
    [['nothing'], 'Usage'],
    [['constructor'], 'Usage'],
    [[], 'Usage'],
  ] as [string[], string][]) {
    const { code, stdout, stderr } = await command(args, { BETTER_AUTH_SECRET: SECRET })
    t.equal(code, 2, `${args.join(' ')}: exit code 2`)
    t.equal(stdout, '', 'nothing on standard output')
    t.match(stderr, what, 'what it was')
    t.match(stderr, /Usage:\n {2}npm run /, 'the usage')
  }
})

t.test('--help prints the usage, with exit code 0', async (t) => {
  for (const args of [['migrate'], ['doctor'], ['token'], ['prove'], []]) {
    const { code, stdout, stderr } = await command([...args, '--help'])
    t.equal(code, 0, `${args}: exit code 0`)
    t.match(stdout, new RegExp(`Usage:\n {2}npm run .*${args[0] ?? 'doctor'}`, 's'))
    t.equal(stderr, '')
  }
})

t.test('values that make no token are refused', async (t) => {
  for (const [args, sentence] of [
    [['--sub='], /^--sub must be/],
    [['--sub', 'a b'], /^--sub must be/],
    [['--sub', 'x'.repeat(256)], /^--sub must be/],
    [['--days', '0'], /^--days must be/],
    [['--days', 'x'], /^--days must be/],
  ] as [string[], RegExp][]) {
    await t.rejects(
      command(['token', ...args], { BETTER_AUTH_SECRET: SECRET }),
      { message: sentence },
      `${args}`,
    )
  }
})

t.test('the exit code is that of the process', async (t) => {
  const { code, stdout, stderr } = await run(t, [CLI, 'token', 'ada']).ended
  t.same({ code, stdout }, { code: 2, stdout: '' })
  t.match(stderr, /'ada'.*\n\nUsage:/)
  await fails(t, run(t, [CLI, 'token', '--sub='], { BETTER_AUTH_SECRET: SECRET }), /--sub must be/)
})

t.test('a missing table or column is none of DATABASE_URL', async (t) => {
  for (const code of ['42P01', '42703', '3F000']) {
    const sentence = explain(Object.assign(new Error('relation "notes" does not exist'), { code }))
    t.match(sentence, /^The database lacks .*"notes" does not exist.*npm run migrate/)
    t.notMatch(sentence, /DATABASE_URL/)
  }
})

t.test('variables of an older back end', async (t) => {
  t.equal(
    olderVariables({ BETTER_AUTH_SECRET: SECRET, ALGORITHM: ' ', ACCESS_TOKEN_EXPIRE_MINUTES: '5' }),
    undefined,
  )
  const sentence = olderVariables({ ALGORITHM: 'HS256', SECRET_KEY: PASSWORD, CORS_ORIGINS: '*' })
  t.match(
    sentence,
    /ALGORITHM \(.*HS256.*\), SECRET_KEY \(set BETTER_AUTH_SECRET\), CORS_ORIGINS \(set FRONTEND_URL\)$/,
  )
  t.notMatch(sentence, PASSWORD, 'their values are not told')
})

t.test('they are named once at start', async (t) => {
  const variables = { WEB_CONCURRENCY: '4', ALGORITHM: 'HS256', JWT_SECRET: PASSWORD }
  const server = await start(t, { ...variables, DATABASE_URL: await migratedUrl() })
  await server.printed(/Server listening/, 1)
  const { code, stdout } = await server.stop()
  t.equal(code, 0)
  const told = stdout.split('\n').filter((line) => /not read here/.test(line))
  t.equal(told.length, 1, 'one line')
  t.match(JSON.parse(told[0] ?? ''), { level: 'warn', msg: /ALGORITHM .*JWT_SECRET .*WEB_CONCURRENCY/ })
  t.notMatch(stdout, PASSWORD)
})

t.test('WEB_CONCURRENCY is named where it asks for more than one process', async (t) => {
  for (const value of ['', ' ', '1', ' 1 ']) t.equal(olderVariables({ WEB_CONCURRENCY: value }), undefined)
  for (const value of ['2', '16', 'auto'])
    t.match(olderVariables({ WEB_CONCURRENCY: value }), /^[^:]+: WEB_CONCURRENCY \(one process .*instances/)
})
