import { readFileSync } from 'node:fs'

const EVERY_MS = 500

/**
 * Calls back when the npm that started this process has ended: the shell in between does not forward signals. Not for
 * processes that were started without npm: those may outlive their shell, in the background.
 */
export function onOrphaned(callback: () => void): void {
  const before = ancestors()
  setInterval(() => ancestors() !== before && callback(), EVERY_MS).unref()
}

/**
 * The ancestors of this process up to npm, the first that npm itself did not start. Only the parent if not on Linux.
 */
function ancestors(): string {
  let pid = String(process.ppid)
  const pids = [pid]
  try {
    while (readFileSync(`/proc/${pid}/environ`, 'utf8').includes('npm_lifecycle_event=')) {
      pid = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? ''
      pids.push(pid)
    }
  } catch {
    // no /proc, or the process has just ended
  }
  return pids.join()
}
