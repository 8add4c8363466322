// Slow clients, in a thread of their own, so that what they send does not delay the requests that are timed.
import { once } from 'node:events'
import { connect } from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

const EVERY_MS = 500

interface DripOptions {
  port: number
  clients: number
  /** What each sends at first. */
  begin: string
  /** What it sends each half second. */
  drip: string
}

/** Clients that never finish their request. */
export class Drip {
  /** Milliseconds after which the server ended each connection that it ended. */
  readonly #ages: number[] = []
  readonly #worker: Worker

  constructor(options: DripOptions) {
    this.#worker = new Worker(new URL(import.meta.url), { workerData: options })
    this.#worker.on('message', (ms: number) => this.#ages.push(ms))
  }

  get longest(): number {
    return this.#ages.length > 0 ? Math.max(...this.#ages) : Infinity
  }

  get cut(): number {
    return this.#ages.length
  }

  async close(): Promise<void> {
    await this.#worker.terminate()
  }
}

if (!isMainThread) drip(workerData)

function drip({ port, clients, begin, drip }: DripOptions): void {
  for (let i = 0; i < clients; i++) {
    // Its own half stays open: the server has to close the connection by itself.
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    const start = performance.now()
    socket.on('error', () => {})
    socket.on('data', () => {})
    socket.write(begin)
    const timer = setInterval(() => socket.write(drip), EVERY_MS)
    const end = Promise.race(['end', 'close'].map((event) => once(socket, event).catch(() => {})))
    void end.then(() => {
      clearInterval(timer)
      parentPort?.postMessage(performance.now() - start, [])
    })
  }
}
