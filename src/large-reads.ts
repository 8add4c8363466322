import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import pLimit from 'p-limit'
import { ScopedStatement, type Statement, type UserScope } from './isolation/index.ts'
import { unavailable } from './problem.ts'
import { Queues } from './queues.ts'

// To parse and write a thousand rows takes this process some milliseconds, in which it does nothing else.
const LARGE = 100
// While this process writes one, PostgreSQL reads another. For a while after a small one was asked for, one is enough.
const AT_ONCE = 2
const SMALL_KEPT_MS = 1_000
// One that takes longer waits for the database, and meanwhile keeps this process from nothing.
const TURN_MS = 500
const PATIENCE_MS = 2_500 // with what it may have waited before, less than DATABASE_TIMEOUT and a second
// Of more users than these the last one would not have its turn by then.
const USERS = 200
// After each one during which somebody asked for a small one, the process is left to others for as long as it was busy,
// but for no longer than this.
const REST_MS = 50

const turns = pLimit(AT_ONCE)
const adjust = () => (turns.concurrency = performance.now() > smallAt + SMALL_KEPT_MS ? AT_ONCE : 1)
// The large ones of each user.
const queues = new Queues<string | undefined>()
// When a small one was last asked for.
let smallAt = -Infinity

/**
 * Reads a page of rows: a small one at once, a large one in its turn. The users with large ones take turns, so that the
 * requests of one need not wait for more than a page of each other, however many they have asked for and left behind.
 * @param limit the most rows that it may have
 * @param patience milliseconds that a large one waits for its turn
 * @throws HttpProblem 503 busy if its turn has not come by then, or could not
 */
export async function readPage<Values, Row>(
  scope: UserScope,
  limit: number,
  statement: Statement<Values, Row, 'owner'>,
  values: Values,
  patience = PATIENCE_MS,
): Promise<Row[]> {
  if (limit <= LARGE) {
    smallAt = performance.now()
    return scope.all(statement, values)
  }
  const user = ScopedStatement.ownerOf(scope.bind(statement, values))
  adjust()
  if (!queues.has(user) && queues.size >= USERS && patience < Infinity) throw busy()
  return new Promise((resolve, reject) => {
    let isRefused = false
    const refuse = () => {
      isRefused = true
      reject(busy())
    }
    // Not when it is its turn: exports in front of it may take any time.
    const refusal = patience < Infinity ? setTimeout(refuse, patience) : undefined
    const turn = async () => {
      if (isRefused) return
      clearTimeout(refusal)
      const start = performance.now()
      const before = performance.eventLoopUtilization()
      const rows = scope.all(statement, values)
      resolve(rows)
      const taken = new AbortController()
      const late = sleep(TURN_MS, undefined, taken).catch(() => {})
      await Promise.race([Promise.allSettled([rows]), late])
      taken.abort()
      await nextTurn() // it is written by then
      adjust()
      if (smallAt > start) await sleep(Math.min(performance.eventLoopUtilization(before).active, REST_MS))
    }
    void queues.run(user, () => turns(turn))
  })
}

const busy = () => unavailable('busy', 'Too many long lists are asked for. Try again shortly.')
