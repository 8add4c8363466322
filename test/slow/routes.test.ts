import t from 'tap'
import { build, identity } from '../helper/app.ts'
import { walkRoutes } from '../isolation/route-walker.ts'

/** Walks the paths alone that begin like one of these. */
const WALK_ONLY = process.env.WALK_ONLY?.split(',')

t.test('no route gives a stranger anything of the owner', async (t) => {
  const app = await build(t)
  const [owner, stranger] = await Promise.all([identity(), identity()])
  const document = app.swagger()
  const paths = Object.entries(document.paths ?? {}).filter(
    ([path]) => WALK_ONLY?.some((start) => path.startsWith(start)) ?? true,
  )
  const walk = await walkRoutes({
    app,
    document: { ...document, paths: Object.fromEntries(paths) },
    owner,
    stranger,
  })
  t.same(walk.findings, [], 'nothing got through')
  t.ok(walk.attempts >= (WALK_ONLY ? 1 : 1000), `${walk.attempts} attempts`)
  t.comment(walk.operations.join(', '))
})
