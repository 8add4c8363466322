// Clients in a thread of their own, so that what they read does not delay the requests that are timed.
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { type Answer, type Call, call, keepAlive, type Times, timesOf } from './clients.ts'

export interface Flood {
  url: string
  /** Of each client in turn. */
  calls: readonly Call[]
  clients: number
  seconds: number
  /** Whether a client that is told to wait does so. Default true. */
  patient?: boolean
}

export interface Flooded extends Times {
  /** Milliseconds that one took at most, however it was answered. */
  longest: number
}

/**
 * Each client sends the same request again and again.
 * @returns the times of those that were answered with 200, and the kinds of all
 */
export async function flood(flood: Flood): Promise<Flooded> {
  const worker = new Worker(new URL(import.meta.url), { workerData: flood })
  return new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}

if (!isMainThread) parentPort?.postMessage(await run(workerData), [])

async function run({ url, calls, clients, seconds, patient = true }: Flood): Promise<Flooded> {
  const end = performance.now() + seconds * 1000
  const agent = keepAlive()
  const answers: Answer[] = []
  await Promise.all(
    Array.from({ length: clients }, async (_, i) => {
      while (performance.now() < end) {
        const answer = await call(url, { ...(calls[i % calls.length] as Call), agent })
        answers.push({ ...answer, body: '' })
        if (patient) await sleep(Number(answer.headers['retry-after'] ?? 0) * 1000)
      }
    }),
  )
  agent.destroy()
  const { kinds, max: longest } = timesOf(answers)
  return { ...timesOf(answers.filter(({ status }) => status === 200)), kinds, longest }
}
