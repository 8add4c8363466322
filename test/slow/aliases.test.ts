import t from 'tap'
import { build, identity } from '../helper/app.ts'
import { walkRoutes } from '../isolation/route-walker.ts'

t.test('no alias gives a stranger anything of the owner', async (t) => {
  const app = await build(t)
  const [owner, stranger] = await Promise.all([identity(), identity()])
  const only = ({ isAlias }: { isAlias: boolean }) => isAlias
  const walk = await walkRoutes({ app, document: app.swagger(), owner, stranger, only })
  t.same(walk.findings, [], 'nothing got through')
  t.ok(walk.attempts >= 1000, `${walk.attempts} attempts`)
  t.comment(walk.operations.join(', '))
})
