// The document in other hands: Spectral reads it, three generators make clients of it, and these compile under `strict`
// and work against a running service. Their packages are not the root's, so this is no part of `npm test`:
// `npm --prefix test/clients ci && npm --prefix test/clients test`.
import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { start } from '../helper/child.ts'

const HERE = import.meta.dirname
const DOCUMENT = 'generated/openapi.json'

t.setTimeout(600_000)

/** Runs a file of this folder with Node.js, until it ends. */
function run(path: string, args: readonly string[], env = {}): Promise<{ code: unknown; output: string }> {
  const options = { cwd: HERE, env: { ...process.env, ...env } }
  return new Promise((resolve) =>
    execFile(process.execPath, [path, ...args], options, (error, stdout, stderr) =>
      resolve({ code: error ? error.code : 0, output: stdout + stderr }),
    ),
  )
}

/** Runs one of the tools installed here. */
const tool = (name: string, ...args: readonly string[]) => run(join('node_modules/.bin', name), args)

async function succeeds(t: Test, what: string, ended: ReturnType<typeof run>): Promise<void> {
  const { code, output } = await ended
  t.equal(code, 0, what)
  if (code !== 0) t.comment(output)
}

t.test('clients', async (t) => {
  const service = await start(t, { BCRYPT_COST: '4' })
  rmSync(join(HERE, 'generated'), { recursive: true, force: true })
  mkdirSync(join(HERE, 'generated'))
  const document = await fetch(`${service.url}/openapi.json`)
  writeFileSync(join(HERE, DOCUMENT), await document.text())

  await t.test("the document keeps Spectral's recommended rules", async (t) => {
    const lint = (file: string) =>
      tool('spectral', 'lint', '--ruleset=spectral.yaml', '--fail-severity=hint', file)
    await succeeds(t, 'no error, no warning', lint(DOCUMENT))
    const broken = { openapi: '3.1.0', info: { title: 'broken', version: '1' }, paths: {} }
    writeFileSync(join(HERE, 'generated/broken.json'), JSON.stringify(broken))
    t.match(
      await lint('generated/broken.json'),
      { code: 1, output: 'oas3-api-servers' },
      'the rules are applied',
    )
  })

  await t.test('clients are made, and compile under strict', async (t) => {
    await succeeds(
      t,
      'openapi-typescript',
      tool('openapi-typescript', DOCUMENT, '--output=generated/types.ts'),
    )
    await succeeds(t, 'hey-api', tool('openapi-ts'))
    await succeeds(t, 'orval', tool('orval'))
    await succeeds(t, 'tsc', tool('tsc'))
  })

  await t.test('clients work', async (t) => {
    for (const walk of readdirSync(join(HERE, 'walks')))
      await succeeds(t, walk, run(join('walks', walk), [], { TASKS_URL: service.url }))
  })
})
