import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { clone, ROOT } from '../helper/child.ts'

t.test("docs/isolation.md's own table works as written, and the walls and the walker cover it", async (t) => {
  const folder = clone(t)
  const { PATH, HOME, TEST_DATABASE_URL } = process.env
  // The other routes are walked by the same test where it stands.
  const env = { PATH, HOME, TEST_DATABASE_URL, TAP_TIMEOUT: '600', WALK_ONLY: '/notes' }
  // tap would load itself into the children.
  const node = (...args: string[]) =>
    execFileSync('env', ['-u', 'NODE_OPTIONS', process.execPath, ...args], {
      cwd: folder,
      encoding: 'utf8',
      env,
    })

  const text = readFileSync(join(ROOT, 'docs/isolation.md'), 'utf8')
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

  const include = ['src', 'plugins', 'routes', 'schemas', 'test/isolation/types.ts']
  writeFileSync(join(folder, 'example.json'), JSON.stringify({ extends: './tsconfig.json', include }))
  t.doesNotThrow(() => node('node_modules/typescript/bin/tsc', '-p', 'example.json'), 'it compiles')
  t.teardown(() => node('test/helper/finish.ts')) // its migrations make a database to copy of their own
  const walk = node('--liftoff-only', 'test/isolation/routes.test.ts')
  t.match(walk, /^ok 1 - no route gives a stranger anything/m, 'the walk passes')
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
