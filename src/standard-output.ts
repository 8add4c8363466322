// The log's way out. Node.js's own stream keeps everything that cannot be written yet, and loses it when the process
// exits; those of pino hold a process that exits for as long as nobody reads. Here what waits is bounded, and so is the
// time at the end.

import { constants, fstatSync, openSync, write, writeSync } from 'node:fs'
import { Socket } from 'node:net'

const STDOUT = 1
// A pipe takes this much whole or not at all (PIPE_BUF), so that lines of several processes do not mix.
const PIPE_CHUNK_BYTES = 4096
const FILE_CHUNK_BYTES = 64 * 1024
const MAX_BYTES = 8 * 1024 * 1024
const RETRY_MS = 1_000
const FLUSH_MS = 500
const PAUSE_MS = 10
// A write costs as much as making several lines, so those of this time share one.
const GATHER_MS = 20

/**
 * Writes lines of ASCII to standard output in the background. While they cannot be written, because nobody reads the
 * pipe or the disk is full, up to 8 MiB wait; lines beyond that are dropped until all of those have been written. When
 * the process exits, it waits half a second for them.
 */
export class StandardOutput {
  readonly #onGap: (dropped: number) => void
  readonly #fd: number
  /** If it is a pipe or a socket; undefined for a file or terminal. */
  readonly #stream: Socket | undefined
  readonly #chunkBytes: number = FILE_CHUNK_BYTES
  /** What is being written, or will be tried again. */
  #current = ''
  /** Whether `#current` has been handed over, and nothing was heard of it. */
  #underWay = false
  #waiting: string[] = []
  /** What is gathered until it makes a chunk, or its time is over. */
  #last = ''
  #bytes = 0
  #active = false
  #dropped = 0
  #gone = false

  /** @param onGap called with the number of lines that were dropped, once lines are written again */
  constructor(onGap: (dropped: number) => void) {
    this.#onGap = onGap
    const kind = fstatSync(STDOUT)
    this.#fd = (kind.isFIFO() && reopen()) || STDOUT
    if (kind.isFIFO() || kind.isSocket()) {
      this.#stream = this.#fd === STDOUT ? process.stdout : new Socket({ fd: this.#fd, readable: false })
      this.#chunkBytes = PIPE_CHUNK_BYTES
      // Its reader has gone, and will not come back.
      this.#stream.on('error', () => {
        this.#gone = true
        this.#waiting = []
      })
    }
    process.on('exit', () => this.#flush())
  }

  write(line: string): void {
    if (this.#gone) return
    if (this.#dropped > 0 || this.#bytes + line.length > MAX_BYTES) {
      this.#dropped += 1
      return
    }
    this.#bytes += line.length
    if (this.#last.length + line.length > this.#chunkBytes) {
      if (this.#last) this.#waiting.push(this.#last)
      for (; line.length > this.#chunkBytes; line = line.slice(this.#chunkBytes)) {
        this.#waiting.push(line.slice(0, this.#chunkBytes))
      }
      this.#last = ''
    }
    this.#last += line
    this.#gather()
  }

  #gather(): void {
    if (this.#active) return
    this.#active = true
    setTimeout(() => this.#writeNext(), GATHER_MS).unref()
  }

  #writeNext(): void {
    this.#current ||= this.#take()
    this.#active = this.#current !== ''
    if (!this.#active) return
    this.#underWay = true
    const done = (error: Error | null | undefined, written: number) => this.#written(error, written)
    if (this.#stream)
      this.#stream.write(this.#current, 'latin1', (error) => done(error, this.#current.length))
    else write(this.#fd, this.#current, null, 'latin1', done)
  }

  #written(error: Error | null | undefined, count: number): void {
    this.#underWay = false
    if (!error) {
      this.#advance(count)
      if (this.#current || this.#waiting.length > 0) return this.#writeNext()
      this.#active = false
      if (this.#last || this.#dropped > 0) this.#gather()
    } else if (!this.#stream) {
      setTimeout(() => this.#writeNext(), RETRY_MS).unref() // the disk may have room by then
    }
  }

  #take(): string {
    const next = this.#waiting.shift()
    if (next !== undefined) return next
    if (!this.#last && this.#dropped > 0) {
      const dropped = this.#dropped
      this.#dropped = 0
      this.#onGap(dropped) // writes a line
    }
    const last = this.#last
    this.#last = ''
    return last
  }

  #advance(count: number): void {
    this.#bytes -= count
    this.#current = this.#current.slice(count)
  }

  /** Without the event loop, which has ended by then. */
  #flush(): void {
    if (this.#gone) return
    // What a stream has taken and not written, it will never write; a thread that writes to a file will have done so.
    if (this.#underWay && !this.#stream?.writableLength) this.#current = ''
    const until = performance.now() + FLUSH_MS
    while ((this.#current ||= this.#take())) {
      try {
        this.#advance(writeSync(this.#fd, this.#current, null, 'latin1'))
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code !== 'EAGAIN' || performance.now() > until) return
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS)
      }
    }
  }
}

/**
 * Opens the pipe once more. That writes to it do not block is set for all processes that share it as it was opened, and
 * undone by each of them that starts another one or exits.
 */
function reopen(): number | undefined {
  try {
    return openSync('/proc/self/fd/1', constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    return undefined // another system, or another user's pipe
  }
}
