import t from 'tap'
import { build, identity } from '../helper/app.ts'
import { walkRoutes } from './route-walker.ts'

t.test('no route gives a stranger anything of the owner', async (t) => {
  const app = await build(t)
  const [owner, stranger] = await Promise.all([identity(), identity()])
  const walk = await walkRoutes({ app, document: app.swagger(), owner, stranger })
  t.same(walk.findings, [], 'nothing got through')
  t.ok(walk.attempts >= 1000, `${walk.attempts} attempts`)
  t.comment(walk.operations.join(', '))
})
