import tap, { type Test } from 'tap'
import { embeddedUrl, migratedUrl } from '../helper/database.ts'
import { pgBouncerVersion, startPgBouncer } from '../helper/pgbouncer.ts'
import { fuzzWire, type WireOptions } from '../isolation/wire.ts'

// WIRE_BATCHES=200000 WIRE_SEED=7 makes it long, and repeats a run as far as the timing allows.
const { TEST_DATABASE_URL, WIRE_BATCHES, WIRE_SEED } = process.env
const seed = Number(WIRE_SEED ?? 1 + Math.floor(Math.random() * 1_000_000))
const needsServer = !TEST_DATABASE_URL && 'needs TEST_DATABASE_URL'
const version = pgBouncerVersion()

// No test is slow, but the machine may be.
tap.setTimeout(WIRE_BATCHES ? 36_000_000 : 600_000)

async function fuzz(t: Test, what: string, options: Omit<WireOptions, 'batches' | 'seed'>, batches: number) {
  const result = await fuzzWire({ ...options, batches: Number(WIRE_BATCHES ?? batches), seed })
  const {
    batches: asked,
    answered,
    misdelivered,
    uncaught,
    hanging,
    killed,
    refused,
    recovered,
    foreignTasks,
    lostTasks,
  } = result
  t.comment(
    `${what}, seed ${seed}: ${asked} batches, ${answered} answered, ${killed} backends killed, ` +
      `${refused} answers refused, ${misdelivered.length} misdelivered`,
  )
  for (const [failure, times] of Object.entries(result.failures)) t.comment(`${times} × ${failure}`)
  t.same(misdelivered, [], 'no answer went to somebody else')
  t.same(uncaught, [], 'nothing thrown left a batch')
  t.equal(hanging, 0, 'every batch ended')
  t.equal(recovered, 20, 'all is well afterwards')
  t.equal(foreignTasks, 0, 'no task was stored for somebody else')
  t.equal(lostTasks, 0, 'no task that was made is missing')
  t.ok(answered > asked / 10, 'and batches were answered')
  return result
}

tap.test('the embedded database', async (t) => {
  await fuzz(t, 'embedded', { url: await embeddedUrl(), prepare: true, fragments: false }, 250)
})

for (const prepare of [true, false]) {
  const how = `prepare ${prepare ? 'on' : 'off'}`
  tap.test(`PostgreSQL, ${how}`, { skip: needsServer }, async (t) => {
    const url = await migratedUrl()
    await fuzz(t, `direct, ${how}`, { url, admin: url, prepare, fragments: false }, 3000)
  })

  tap.test(`PostgreSQL over a wire that breaks messages, ${how}`, { skip: needsServer }, async (t) => {
    const url = await migratedUrl()
    const { killed } = await fuzz(t, `fragments, ${how}`, { url, admin: url, prepare, fragments: true }, 2000)
    t.ok(killed > 0, 'backends were killed')
  })
}

tap.test(
  `PgBouncer ${version}, over a wire that breaks messages`,
  { skip: needsServer || (!version && 'PgBouncer is not installed: apt-get install pgbouncer') },
  async (t) => {
    const admin = await migratedUrl()
    const url = await startPgBouncer(t, admin)
    const { refused } = await fuzz(
      t,
      `PgBouncer ${version}`,
      { url, admin, prepare: false, fragments: true },
      2000,
    )
    if (refused === 0) t.comment('PgBouncer gave no foreign answer this time')
  },
)
