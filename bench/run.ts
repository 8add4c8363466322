// The load generator runs here, and its own garbage collections would look like slow servers: with V8's defaults, up to
// 30 ms for 1 % of all answers. So `npm run bench` gives it a young generation so large that hardly any collection runs
// while it measures.
import { compare } from './compare.ts'
import { latency } from './latency.ts'
import { proof } from './proof.ts'
import { scale } from './scale.ts'
import { smoke } from './smoke.ts'

const { BENCH_DATABASE_URL } = process.env
const [what, ...rest] = process.argv.slice(2)
const benchmark = new Map([
  [undefined, compare],
  ['scale', scale],
  ['latency', latency],
  ['proof', proof],
]).get(what)

if (rest.length > 0 || !benchmark) {
  process.stderr.write(
    'Usage: npm run bench              compares with a hand-written server\n' +
      '       npm run bench -- scale     measures the cost as work grows\n' +
      '       npm run bench -- latency   compares with other libraries while the database is far away\n' +
      "       npm run bench -- proof     measures what it costs that each answer is proved to be its asker's\n",
  )
  process.exitCode = 1
} else if (BENCH_DATABASE_URL) {
  await benchmark(BENCH_DATABASE_URL)
} else if (benchmark === compare) {
  await smoke()
} else {
  process.stderr.write(
    'Set BENCH_DATABASE_URL to a PostgreSQL server: postgres://USER:PASSWORD@HOST/DATABASE\n',
  )
  process.exitCode = 1
}
