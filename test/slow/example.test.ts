import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { clone, COMPILED, ROOT } from '../helper/child.ts'

const FILE = /^```ts\n\/\/ (\S+)\n([^]*?)^```$/gm
const DIFF = /^```diff\n([^]*?)^```$/gm

const examples = readFileSync(join(ROOT, 'docs/isolation.md'), 'utf8')
  .split(/^## /m)
  .map((section) => ({
    title: section.slice(0, section.indexOf('\n')),
    files: [...section.matchAll(FILE)].map(([, path = '', code = '']) => ({ path, code })),
    diffs: [...section.matchAll(DIFF)].map(([, diff = '']) => diff),
  }))
  .filter(({ files }) => files.length > 0)

t.test('the examples of docs/isolation.md work as written, and the walls and tests cover them', async (t) => {
  const folder = clone(t)
  const { PATH, HOME, TEST_DATABASE_URL } = process.env
  // The other routes are walked by the same test where it stands.
  const env = {
    PATH,
    HOME,
    TEST_DATABASE_URL,
    TAP_TIMEOUT: '600',
    WALK_ONLY: '/notes,/projects',
    ...COMPILED,
  }
  // tap would load itself into the children.
  const NODE_OPTIONS = `NODE_OPTIONS=${COMPILED.NODE_OPTIONS}`
  const node = (...args: string[]) => {
    try {
      return execFileSync('env', [NODE_OPTIONS, process.execPath, ...args], {
        cwd: folder,
        encoding: 'utf8',
        env,
        maxBuffer: 64 * 1024 * 1024,
      })
    } catch (error) {
      return `${(error as { stdout: string }).stdout}\nfailed: ${error}`
    }
  }

  t.same(
    examples.map(({ title }) => title),
    ['Add your own table', 'A table with tasks in it'],
    'there are two',
  )
  const written = new Set<string>()
  for (const { files, diffs } of examples) {
    for (const { path } of files) written.add(path)
    // A repository where an example was followed already is tested as it is.
    if (existsSync(join(folder, files[0]?.path ?? ''))) continue
    for (const { path, code } of files) writeFileSync(join(folder, path), code)
    for (const diff of diffs) for (const path of apply(diff, folder)) written.add(path)
  }

  const lines = [
    ...(examples[0]?.files ?? []).flatMap(({ code }) => code.split('\n')).filter(Boolean),
    ...(examples[0]?.diffs ?? []).flatMap((diff) => diff.split('\n')).filter((line) => line.startsWith('+')),
  ]
  t.ok(lines.length <= 60, `the first takes ${lines.length} lines`)

  t.equal(node('node_modules/typescript/bin/tsc'), '', 'npm run check: the types hold')
  t.match(node('node_modules/oxlint/bin/oxlint', '--deny-warnings'), '0 warnings and 0 errors', 'the linter')
  const format = node('node_modules/prettier/bin/prettier.cjs', '--check', ...written)
  t.match(format, 'All matched files', 'the format')

  t.teardown(() => node('test/helper/finish.ts')) // its migrations make a database to copy of their own
  const walk = node('--liftoff-only', 'test/slow/routes.test.ts')
  t.match(walk, /^ok 1 - no route gives a stranger anything/m, 'the walk passes')
  for (const route of ['GET /notes/{id}', 'POST /notes', 'GET /projects', 'POST /projects/{id}/tasks'])
    t.match(walk, route, `${route} is walked`)
  for (const file of ['isolation/followed.ts', 'slow/shards.test.ts', 'slow/openapi.test.ts']) {
    const result = node('--liftoff-only', `test/${file}`)
    t.notMatch(result, /^ *not ok|^failed/m, `${file} passes`)
    t.match(result, /^ok 1 - /m, `${file} has run`)
  }
})

/**
 * Does what diffs without line numbers say: what is added goes behind the line that is named before it, or where none
 * is, in front of the next one. Returns the files.
 */
function apply(diff: string, folder: string): string[] {
  const files: string[] = []
  for (const [, path = '', edits = ''] of diff.matchAll(/^--- (\S+)\n((?:(?!--- ).*\n)*)/gm)) {
    const lines = readFileSync(join(folder, path), 'utf8').split('\n')
    const done: string[] = []
    let first: string[] = []
    for (const edit of edits.trimEnd().split('\n')) {
      if (edit.startsWith('+')) {
        const target = done.length === 0 ? first : done
        target.push(edit.slice(1))
        continue
      }
      const at = lines.indexOf(edit.slice(1))
      if (at < 0) throw new Error(`docs/isolation.md names a line that is not there: ${edit}`)
      done.push(...lines.splice(0, at), ...first, ...lines.splice(0, 1))
      first = []
    }
    writeFileSync(join(folder, path), [...done, ...lines].join('\n'))
    files.push(path)
  }
  return files
}
