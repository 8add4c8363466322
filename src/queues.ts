/** Runs tasks with the same key one after the other, in the order in which they came. */
export class Queues<Key> {
  // The last task of each key, which the next one waits for.
  readonly #last = new Map<Key, Promise<void>>()

  /** Keys with a task that has not ended. */
  get size(): number {
    return this.#last.size
  }

  has(key: Key): boolean {
    return this.#last.has(key)
  }

  /** Returns what the task does; one that fails does not keep the next from running. */
  run<T>(key: Key, task: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key)
    const result = before ? before.then(task) : task()
    const forget = () => {
      if (this.#last.get(key) === last) this.#last.delete(key)
    }
    const last = result.then(forget, forget)
    this.#last.set(key, last)
    return result
  }
}
