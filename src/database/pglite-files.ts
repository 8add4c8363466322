import { NodeFS } from '@electric-sql/pglite/nodefs'

// The status with which PostgreSQL leaves a statement that has failed; it goes on after that.
const STATEMENT_FAILED = 100

/**
 * The files of an embedded database. PGlite takes whatever is thrown while a statement runs for the statement's failure
 * and calls PostgreSQL again, for ever if it has aborted. Here it learns of that.
 */
export class Files extends NodeFS {
  /** Why PostgreSQL has ended, in its own words. */
  lastWords: string | undefined
  /** Set once PostgreSQL has aborted; every statement fails with it from then on. */
  aborted: Error | undefined
  /** Called when PostgreSQL aborts. */
  onAbort: (() => void) | undefined

  /** Reads a line of PostgreSQL's log. */
  listen(line: string): boolean {
    this.lastWords = /\b(?:FATAL|PANIC|DETAIL): +(.+?)\.?$/.exec(line)?.[1] ?? this.lastWords
    return false
  }

  // The first call that finds PostgreSQL loaded, and it has not run yet.
  override async initialSyncFs(): Promise<void> {
    const module = this.pg?.Module
    if (!module) return
    const { _PostgresMainLoopOnce: run, stackRestore } = module
    module._PostgresMainLoopOnce = () => {
      if (this.aborted) throw this.aborted
      try {
        run()
      } catch (error) {
        if ((error as { status?: number }).status !== STATEMENT_FAILED) this.#abort()
        throw error
      }
    }
    // PGlite's handler begins with it, and lets through what it throws.
    module.stackRestore = (pointer) => {
      if (this.aborted) throw this.aborted
      return stackRestore(pointer)
    }
  }

  #abort(): void {
    if (this.aborted) return
    this.aborted = new Error('Connection terminated: the embedded database has aborted')
    this.onAbort?.()
  }
}
