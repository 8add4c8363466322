// Clients in a thread of their own, so that what they read does not delay the requests that are timed.
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { type Answer, call, keepAlive, type Times, timesOf } from './clients.ts'

export interface Flood {
  url: string
  path: string
  /** Of each client in turn. */
  tokens: readonly string[]
  clients: number
  seconds: number
}

/** Sends the same request again and again. A client that is told to wait waits. */
export async function flood(flood: Flood): Promise<Times> {
  const worker = new Worker(new URL(import.meta.url), { workerData: flood })
  return new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}

if (!isMainThread) parentPort?.postMessage(await run(workerData), [])

async function run({ url, path, tokens, clients, seconds }: Flood): Promise<Times> {
  const end = performance.now() + seconds * 1000
  const agent = keepAlive()
  const answers: Answer[] = []
  await Promise.all(
    Array.from({ length: clients }, async (_, i) => {
      while (performance.now() < end) {
        const answer = await call(url, { path, token: tokens[i % tokens.length], agent })
        answers.push({ ...answer, body: '' })
        await sleep(Number(answer.headers['retry-after'] ?? 0) * 1000)
      }
    }),
  )
  agent.destroy()
  return { ...timesOf(answers.filter(({ status }) => status === 200)), kinds: timesOf(answers).kinds }
}
