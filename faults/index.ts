// npm run faults: breaks what the service stands on, loads it with what nobody should send, and compares what happens
// with what docs/reliability.md promises.
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { format, resolveConfig } from 'prettier'
import { Missing } from './processes.ts'
import backendsEnded from './scenarios/backends-ended.ts'
import bigUser from './scenarios/big-user.ts'
import connectionCut from './scenarios/connection-cut.ts'
import databaseFrozen from './scenarios/database-frozen.ts'
import databaseKilled from './scenarios/database-killed.ts'
import embeddedKilled from './scenarios/embedded-killed.ts'
import issuer from './scenarios/issuer.ts'
import largeAnswers from './scenarios/large-answers.ts'
import lockedRows from './scenarios/locked-rows.ts'
import log from './scenarios/log.ts'
import redis from './scenarios/redis.ts'
import rollingDeploy from './scenarios/rolling-deploy.ts'
import serviceKilled from './scenarios/service-killed.ts'
import shutdownHeld from './scenarios/shutdown-held.ts'
import shutdownUnderLoad from './scenarios/shutdown-under-load.ts'
import slowClients from './scenarios/slow-clients.ts'
import unreadAnswers from './scenarios/unread-answers.ts'
import { openTools, type Scenario } from './tools.ts'

const DOCUMENT = 'docs/reliability.md'
const [BEGIN, END] = ['<!-- npm run faults: begin -->', '<!-- npm run faults: end -->']

const SCENARIOS: readonly Scenario[] = [
  databaseKilled,
  backendsEnded,
  connectionCut,
  databaseFrozen,
  serviceKilled,
  embeddedKilled,
  shutdownUnderLoad,
  shutdownHeld,
  rollingDeploy,
  slowClients,
  unreadAnswers,
  largeAnswers,
  lockedRows,
  bigUser,
  redis,
  issuer,
  log,
]

interface Row extends Pick<Scenario, 'name' | 'what' | 'goal'> {
  figure: string
  verdict: 'yes' | '**no**' | 'not run'
}

const [name, seconds] = process.argv.slice(2)
const chosen = SCENARIOS.filter((scenario) => name === undefined || scenario.name === name)
if (chosen.length === 0) {
  process.stderr.write(
    'Usage: npm run faults                      runs all, and writes their lines in docs/reliability.md\n' +
      '       npm run faults -- NAME [SECONDS]   runs one, and writes its line\n' +
      `Names: ${SCENARIOS.map((scenario) => scenario.name).join(', ')}\n`,
  )
  process.exitCode = 2
} else {
  const rows = await runAll(chosen, seconds === undefined ? undefined : Number(seconds))
  await writeDocument(rows)
  if (rows.some(({ verdict }) => verdict === '**no**')) process.exitCode = 1
}

async function runAll(scenarios: readonly Scenario[], seconds?: number): Promise<Row[]> {
  const { tools, close } = await openTools(seconds)
  const rows: Row[] = []
  for (const { name, what, goal, run } of scenarios) {
    const start = performance.now()
    process.stdout.write(`${name}: ${what}\n`)
    const row = await run(tools).then(
      ({ figure, ok }) => ({ figure, verdict: ok ? 'yes' : '**no**' }) as const,
      (error) =>
        error instanceof Missing
          ? ({ figure: error.message, verdict: 'not run' } as const)
          : ({ figure: `broke off: ${error.message}`, verdict: '**no**' } as const),
    )
    await tools.close()
    rows.push({ name, what, goal, ...row })
    const took = ((performance.now() - start) / 1000).toFixed(0)
    process.stdout.write(
      `  goal: ${goal}\n  measured: ${row.figure}\n  reached: ${row.verdict} (${took} s)\n\n`,
    )
  }
  await close()
  return rows
}

/** Replaces the lines of these scenarios; the others keep theirs. */
async function writeDocument(rows: readonly Row[]): Promise<void> {
  const text = readFileSync(DOCUMENT, 'utf8')
  const [before = '', inside, after] = text.split(new RegExp(`${BEGIN}(.*)${END}`, 's'))
  if (inside === undefined || after === undefined) throw new Error(`${DOCUMENT} has lost its marks`)
  const lines = SCENARIOS.map(({ name }) => {
    const row = rows.find((row) => row.name === name)
    if (row) return `| \`${name}\` | ${row.what} | ${row.goal} | ${row.figure} | ${row.verdict} |`
    return inside.split('\n').find((line) => line.startsWith(`| \`${name}\` `)) ?? ''
  })
  const machine =
    `Last run on ${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpus()[0]?.model}, Node.js ${process.version}. ` +
    'Clients, service and database share the machine: counts hold elsewhere, times do not.'
  const table = [
    '| Scenario | What is done | Goal | Measured | Reached |',
    '| --- | --- | --- | --- | --- |',
    ...lines,
  ]
  const whole = `${before}${BEGIN}\n\n${machine}\n\n${table.filter(Boolean).join('\n')}\n\n${END}${after}`
  writeFileSync(DOCUMENT, await format(whole, { ...(await resolveConfig(DOCUMENT)), filepath: DOCUMENT }))
  process.stdout.write(`Written: ${DOCUMENT}\n`)
}
