import { join } from 'node:path'
import { mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { sql } from 'kysely'
import t from 'tap'
import { connect } from '../../src/database/index.ts'
import { identity } from '../helper/app.ts'
import { COMPILED, ROOT, start } from '../helper/child.ts'
import { embeddedUrl } from '../helper/database.ts'
import { tasksOver } from '../helper/tasks.ts'

const { headers } = await identity('starter')
const { add, titles } = tasksOver(headers)

const FULL_DISK = `${COMPILED.NODE_OPTIONS} --import=${pathToFileURL(join(ROOT, 'test/helper/full-disk.ts'))}`

t.test('the disk of the embedded database is full', async (t) => {
  const DATABASE_URL = await embeddedUrl()
  const server = await start(t, { DATABASE_URL, NODE_OPTIONS: FULL_DISK })
  const kept: string[] = []
  /** Adds tasks until the status changes; returns the last answer. */
  async function addUntil(status: number) {
    for (let i = 0; ; i++) {
      const title = `task ${kept.length}`
      const response = await add(server.url, title)
      if (response.status === 201) kept.unshift(title)
      if (response.status === status || i === 100) return response
      await sleep(20)
    }
  }
  t.equal((await addUntil(201)).status, 201, 'there is room')

  server.process.kill('SIGWINCH')
  const refused = await addUntil(503)
  t.match(await refused.json(), { status: 503, code: 'storage_full' }, 'writes are refused')
  t.equal(refused.headers.get('retry-after'), '60', 'with Retry-After')
  t.same(await titles(server.url), kept, 'reads go on')
  for (const path of ['/health', '/ready']) t.equal((await fetch(server.url + path)).status, 200, path)

  server.process.kill('SIGWINCH')
  t.equal((await addUntil(201)).status, 201, 'there is room again')

  server.process.kill('SIGWINCH')
  t.equal((await addUntil(503)).status, 503, 'the write-ahead log cannot be written')
  const { code, stdout } = await server.ended
  t.equal(code, 1, 'PostgreSQL has aborted, and the process ends')
  t.match(
    stdout,
    /"level":"fatal".*has aborted: could not .*No space left on device\. Start again/,
    'it says why',
  )

  const second = await start(t, { DATABASE_URL })
  t.same((await titles(second.url)).slice(-kept.length), kept, 'everything acknowledged is there')
  t.equal((await second.stop()).code, 0, 'exit code 0')
})

t.test('every five minutes the write-ahead log may be reused', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  const db = await connect({ url: await embeddedUrl() })
  const checkpoint = async () => {
    const { rows } = await db.asLogin((as) =>
      sql`select checkpoint_lsn from pg_control_checkpoint()`.execute(as),
    )
    return rows
  }
  const first = await checkpoint()
  mock.timers.tick(5 * 60_000)
  t.strictNotSame(await checkpoint(), first, 'there is a new checkpoint')
  await db.close()
  mock.timers.reset()
})
