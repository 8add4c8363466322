import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ROOT } from '../helper/child.ts'

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')

t.test('README.md shows the files of the example as they are', async (t) => {
  const snippets = [...read('README.md').matchAll(/```tsx?\n(\/\/ (lib\/tasks\.\w+\.ts)[^]*?)```/g)]
  t.same(
    snippets.map(([, , file]) => file),
    ['lib/tasks.client.ts', 'lib/tasks.server.ts'],
  )
  for (const [, text, file = ''] of snippets) t.equal(text, read(`examples/next/${file}`), file)
})
