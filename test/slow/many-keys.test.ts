import { join } from 'node:path'
import t from 'tap'
import { run } from '../helper/child.ts'

t.test('many keys', async (t) => {
  const { code, stdout, stderr } = await run(t, ['--expose-gc', join(import.meta.dirname, 'many-keys.ts')])
    .ended
  t.equal(code, 0, stderr)
  const { remembered, megabytes } = JSON.parse(stdout)
  t.equal(remembered, true, 'do not push others out early: after 40,000 others the third request is refused')
  t.ok(megabytes < 15, `do not use more memory: ${megabytes} MB for 200,000 further keys`)
})
