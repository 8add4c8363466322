import pLimit from 'p-limit'

// To parse and write a thousand rows takes this process some milliseconds, in which it does nothing else.
const LARGE = 100
const AT_ONCE = 2

const turns = pLimit(AT_ONCE)

/**
 * Reads a page of rows: a small one at once, a large one after the large ones before it, whosever they are. So the
 * requests of others need not wait for more than a few pages.
 * @param limit the most rows that it may have
 */
export function readPage<T>(limit: number, read: () => Promise<T>): Promise<T> {
  return limit > LARGE ? turns(read) : read()
}
