import pg from 'pg'
import { ConfigError } from '../config.ts'
import { DataDirectoryError, isPassingFault } from '../database/index.ts'
import { MissingGrantError } from '../isolation/index.ts'

// Their messages are written for people.
const EXPECTED = [ConfigError, DataDirectoryError]

/** Ends the process with one sentence on standard error, or the whole stack if the error is a bug. Exit code 1. */
export function exitWith(error: unknown): never {
  process.stderr.write(
    `taskward: ${explain(error as Error & Partial<NodeJS.ErrnoException> & { port?: number })}\n`,
  )
  process.exit(1)
}

/** What went wrong and what to do, in a sentence, or the stack of an unexpected error. */
export function explain(error: Error & Partial<NodeJS.ErrnoException> & { port?: number }): string {
  if (error instanceof MissingGrantError) return `${error.message} Or set DATABASE_RLS=off to go without.`
  if (EXPECTED.some((known) => error instanceof known)) return error.message.replaceAll('\n', '\ntaskward: ')
  switch (error.syscall === 'listen' ? error.code : undefined) {
    case 'EADDRINUSE':
      return `Port ${error.port} is taken by another process. Stop it, or set PORT to a free one.`
    case 'EACCES':
      return `Port ${error.port} may not be used by this user. Set PORT to 1024 or more.`
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
    case 'ENOTFOUND':
      return `HOST is not an address of this machine. Leave it empty for all of them, or set it to 127.0.0.1.`
  }
  if (error instanceof pg.DatabaseError && /^(28|3D)/.test(error.code ?? ''))
    return `The database refused: ${error.message}. Is DATABASE_URL right?`
  // No such table, column or schema; the embedded database has an error class of its own.
  if (/^(42P01|42703|3F000)$/.test(error.code ?? '')) {
    return `The database lacks what the code expects (${error.message}). Run: npm run migrate, with every migration listed in src/migrations/index.ts.`
  }
  if (error.code === '55P03') return 'Others use a table that the migration changes. Run it once more.'
  if (isPassingFault(error)) {
    return `The database does not answer (${error.message || error.code}). Is it running, and is DATABASE_URL right?`
  }
  if (error instanceof pg.DatabaseError) return `The database refused: ${error.message}.`
  return error.stack ?? String(error)
}
