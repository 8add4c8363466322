import type { Test } from 'tap'
import { connect, type DatabaseOptions } from '../../src/database/index.ts'
import {
  dataRow,
  type Message,
  openWireProxy,
  query,
  type Rewriting,
  sync,
  textsOf,
} from '../helper/wire-proxy.ts'
import { CITUS } from '../helper/template.ts'

// What a server, or a pooler in front of it, can do wrong with the answers of several users.

/** A database behind a proxy that rewrites messages. One connection carries the batches, so that they share it. */
export async function behindProxy(
  t: Test,
  url: string,
  rewriting: () => Rewriting,
  options: Partial<DatabaseOptions> = {},
) {
  const proxy = await openWireProxy(t, url, rewriting)
  const db = await connect({ url: proxy.url, poolMax: 1, statementTimeout: 2000, ...options })
  t.teardown(() => db.close())
  return { db, proxy }
}

// Owner, nonce, time-out and role.
const SETTINGS = /^(.*) ([\w-]{16}:\d+) (\w+) (taskward_user)$/
const isSettings = (message: Message) => message.type === 'D' && SETTINGS.test(textsOf(message)[0] ?? '')

/** How many statements of a batch of nobody stand in front of its settings: on Citus, `begin`. */
const BEGUN = CITUS ? 1 : 0

/** Sees the messages of a batch's answer with what they belong to, when it is armed. */
export type Fault = (message: Message, of: { settings: boolean; last: boolean }) => Message[] | undefined

const otherSettings =
  (replacement: string): Fault =>
  (message, { settings }) =>
    settings && message.type === 'D'
      ? [dataRow([(textsOf(message)[0] ?? '').replace(SETTINGS, replacement)])]
      : undefined

// What a server, or a pooler in front of it, does wrong. `last` is what belongs to the statement, not to its settings.
export const FAULTS: [what: string, fault: () => Fault][] = [
  ['the settings of another batch', () => otherSettings('$1 $2+ $3 $4')],
  ['the settings of another user', () => otherSettings('eve $2 $3 $4')],
  ['the settings of another time-out', () => otherSettings('$1 $2 1$3 $4')],
  ['the settings without their role', () => otherSettings('$1 $2 $3 postgres')],
  [
    'no settings',
    () =>
      (message, { settings }) =>
        settings && message.type === 'D' ? [] : undefined,
  ],
  [
    'the settings twice',
    () =>
      (message, { settings }) =>
        settings && message.type === 'D' ? [message, message] : undefined,
  ],
  [
    'no completion of the settings',
    () =>
      (message, { settings }) =>
        settings && message.type === 'C' ? [] : undefined,
  ],
  [
    'a completion too few',
    () =>
      (message, { last }) =>
        last && message.type === 'C' ? [] : undefined,
  ],
  [
    'a completion too many',
    () =>
      (message, { last }) =>
        last && message.type === 'C' ? [message, message] : undefined,
  ],
  [
    'an answer cut short',
    () =>
      (message, { last }) =>
        last && ['D', 'C'].includes(message.type) ? [] : undefined,
  ],
  [
    'a row with a column more',
    () =>
      (message, { last }) =>
        last && message.type === 'D' ? [dataRow([...textsOf(message), 'more'])] : undefined,
  ],
  [
    'a row with a column less',
    () =>
      (message, { last }) =>
        last && message.type === 'D' ? [dataRow(textsOf(message).slice(1))] : undefined,
  ],
  [
    'a row without a statement',
    () => (message) => (message.type === 'Z' ? [dataRow(['hers', 'ada']), message] : undefined),
  ],
  [
    'a suspended portal',
    () =>
      (message, { last }) =>
        last && message.type === 'C' ? [{ type: 's', body: Buffer.alloc(0) }] : undefined,
  ],
]

/** Puts a fault on what the server says, once it is armed. */
export function faulty(fault: Fault, isArmed: () => boolean): () => Rewriting {
  return () => {
    let completed = 0
    let settings = true
    return {
      toClient(message) {
        if (message.type === 'D') settings = isSettings(message)
        const place = completed - BEGUN
        const changed = isArmed()
          ? fault(message, { settings: settings && place % 2 === 0, last: place % 2 === 1 })
          : undefined
        if (message.type === 'C') completed += 1
        if (message.type === 'Z') completed = 0
        if (message.type === 'Z' || message.type === 'C') settings = completed === 0
        return changed
      },
    }
  }
}

/** Puts a message behind the settings of each batch, and keeps what it is answered. */
const splitBy = (inserted: Message) => (): Rewriting => {
  let executed = 0
  const swallow: string[] = []
  return {
    toServer(message) {
      if (message.type === 'E') executed += 1
      if (message.type === 'S') executed = 0
      if (message.type !== 'E' || executed !== 1 + BEGUN) return undefined
      swallow.push(...(inserted.type === 'Q' ? ['C', 'Z'] : ['Z']))
      return [message, inserted]
    },
    toClient({ type, body }) {
      const isNext = type === swallow[0] && (type === 'Z' || body.toString().startsWith('COMMIT'))
      if (!isNext) return undefined
      swallow.shift()
      return []
    },
  }
}

/** Poolers that run the settings and the statement behind them in different transactions. */
export const SPLITTING: Record<string, () => Rewriting> = {
  // An explicit transaction goes on behind it.
  ...(CITUS ? {} : { 'Sync behind the settings': splitBy(sync) }),
  'commit behind the settings': splitBy(query('commit')),
}

/** Runs SQL of somebody else, with the rights of the login, between two batches of a connection. */
export class Injection {
  /** How often it was run. */
  times = 0
  #sql: string | undefined

  /** Has it run in front of the next batch. */
  arm(sql: string): void {
    this.#sql = sql
  }

  readonly rewriting = (): Rewriting => {
    let between = true
    const swallow: string[] = []
    return {
      toServer: (message) => {
        const isFirst = between && ['P', 'B', 'C'].includes(message.type)
        between = message.type === 'S'
        if (this.#sql === undefined || !isFirst) return undefined
        const inserted = query(this.#sql)
        this.#sql = undefined
        this.times += 1
        swallow.push('C', 'Z')
        return [inserted, message]
      },
      toClient: ({ type }) => {
        if (type !== swallow[0]) return undefined
        swallow.shift()
        return []
      },
    }
  }
}
