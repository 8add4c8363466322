import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import t from 'tap'

const PARTS = [
  'src',
  'plugins',
  'routes',
  'schemas',
  'test',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
]

t.test("docs/isolation.md's own table works as written, and the walls and the walker cover it", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'taskward-example-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const part of PARTS) cpSync(part, join(folder, part), { recursive: true })
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'))
  const { PATH, HOME, TEST_DATABASE_URL } = process.env
  const env = { PATH, HOME, TEST_DATABASE_URL, TAP_TIMEOUT: '300' }
  // tap would load itself into the children.
  const node = (...args: string[]) =>
    execFileSync('env', ['-u', 'NODE_OPTIONS', process.execPath, ...args], {
      cwd: folder,
      encoding: 'utf8',
      env,
    })

  const text = readFileSync('docs/isolation.md', 'utf8')
  const files = [...text.matchAll(/^```ts\n\/\/ (\S+)\n([^]*?)^```$/gm)]
  const [, diff = ''] = /^```diff\n([^]*?)^```$/m.exec(text) ?? []
  for (const [, path = '', code = ''] of files) writeFileSync(join(folder, path), code)
  for (const [, path = '', edits = ''] of diff.matchAll(/^--- (\S+)\n((?:(?!--- ).*\n)*)/gm)) {
    const file = join(folder, path)
    writeFileSync(file, edit(readFileSync(file, 'utf8').split('\n'), edits.trimEnd().split('\n')).join('\n'))
  }

  const lines = files.flatMap(([, , code = '']) => code.trim().split('\n'))
  const added = diff.split('\n').filter((line) => /^\+(?!\+)/.test(line))
  t.ok(
    lines.filter(Boolean).length + added.length <= 60,
    `${lines.filter(Boolean).length + added.length} lines`,
  )

  node('node_modules/typescript/bin/tsc')
  const walk = node('test/isolation/routes.test.ts')
  t.match(walk, /^ok 1 - no route gives a stranger anything/m)
  t.match(walk, 'GET /notes/{id}, POST /notes', 'the new routes are walked')
})

/** Does what a diff without line numbers says: what is added goes before the next line that is named. */
function edit(lines: string[], edits: string[]): string[] {
  const done: string[] = []
  let added: string[] = []
  for (const line of edits) {
    if (line.startsWith('+')) {
      added.push(line.slice(1))
      continue
    }
    const at = lines.indexOf(line.slice(1))
    if (at < 0) throw new Error(`docs/isolation.md names a line that is not there: ${line}`)
    done.push(...lines.splice(0, at), ...added)
    const [named = ''] = lines.splice(0, 1)
    if (!line.startsWith('-')) done.push(named)
    added = []
  }
  return [...done, ...added, ...lines]
}
