// What `npm run faults` and `npm run scale` share: running scenarios one after the other, and writing their table.
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { format, resolveConfig } from 'prettier'
import { Missing } from './processes.ts'
import { openTools, type Scenario } from './tools.ts'

interface Row extends Pick<Scenario, 'name' | 'what' | 'goal'> {
  figure: string
  verdict: 'yes' | '**no**' | 'not run'
}

/**
 * Runs the scenarios that the command line names, and replaces their lines in the document between its two marks.
 * The exit code is 1 if one does not reach its goal, 2 for a command line that names none.
 * @param command of package.json, which the marks name as well
 * @param document a path
 */
export async function report(
  command: string,
  document: string,
  scenarios: readonly Scenario[],
): Promise<void> {
  const [name, seconds] = process.argv.slice(2)
  const chosen = scenarios.filter((scenario) => name === undefined || scenario.name === name)
  const isTime = seconds === undefined || Number(seconds) > 0
  if (chosen.length === 0 || !isTime) {
    process.stderr.write(
      (isTime ? `There is no ${name}.\n` : `${seconds} is no number of seconds.\n`) +
        `Usage: npm run ${command}                      runs all, and writes their lines in ${document}\n` +
        `       npm run ${command} -- NAME [SECONDS]   runs one, and writes its line\n` +
        `Names: ${scenarios.map((scenario) => scenario.name).join(', ')}\n`,
    )
    process.exitCode = 2
    return
  }
  const start = performance.now()
  const rows = await runAll(chosen, seconds === undefined ? undefined : Number(seconds))
  if (rows.length > 1) summarize(rows, performance.now() - start)
  await writeDocument(command, document, scenarios, rows)
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

function summarize(rows: readonly Row[], ms: number): void {
  const lines = rows.map(({ name, goal, figure, verdict }) => `${verdict}\t${name}\t${goal}\t${figure}\n`)
  process.stdout.write(
    `reached\tscenario\tgoal\tmeasured\n${lines.join('')}${(ms / 60_000).toFixed(1)} minutes\n\n`,
  )
}

/** Replaces the lines of these scenarios; the others keep theirs. */
async function writeDocument(
  command: string,
  document: string,
  scenarios: readonly Scenario[],
  rows: readonly Row[],
): Promise<void> {
  const [begin, end] = [`<!-- npm run ${command}: begin -->`, `<!-- npm run ${command}: end -->`]
  const text = readFileSync(document, 'utf8')
  const [before = '', inside, after] = text.split(new RegExp(`${begin}(.*)${end}`, 's'))
  if (inside === undefined || after === undefined) throw new Error(`${document} has lost its marks`)
  const run = `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpus()[0]?.model}`
  const lines = scenarios.map(({ name }) => {
    const before = inside.split('\n').find((line) => line.startsWith(`| \`${name}\` `))
    const row = rows.find((row) => row.name === name)
    if (!row || (row.verdict === 'not run' && before)) return before ?? ''
    return `| \`${name}\` | ${row.what} | ${row.goal} | ${row.figure} | ${row.verdict} | ${run} |`
  })
  const note = 'Clients, service and database share the machine: counts hold elsewhere, times do not.'
  const table = [
    '| Scenario | What is done | Goal | Measured | Reached | Run |',
    '| --- | --- | --- | --- | --- | --- |',
    ...lines,
  ]
  const whole = `${before}${begin}\n\n${note}\n\n${table.filter(Boolean).join('\n')}\n\n${end}${after}`
  writeFileSync(document, await format(whole, { ...(await resolveConfig(document)), filepath: document }))
  process.stdout.write(`Written: ${document}\n`)
}
