import { type ParseArgsConfig, parseArgs } from 'node:util'
import type { Variables } from '../config.ts'

/** What a command reads and writes. */
export interface Io {
  variables: Variables
  input: AsyncIterable<Uint8Array>
  print(line: string): void
  /** For what goes to standard error. */
  complain(line: string): void
}

/** 0 done, 1 it failed or found faults, 2 the arguments make no sense. */
export type ExitCode = 0 | 1 | 2
export type Command = (args: string[], io: Io) => Promise<ExitCode>

/** The arguments make no sense: the usage is printed. */
export class UsageError extends Error {
  override name = 'UsageError'
}

/** A command whose options are all strings, with --help and a usage of its own. */
export function command<const Name extends string>(
  usage: string,
  names: readonly Name[],
  run: (options: Partial<Record<Name, string>>, io: Io) => Promise<ExitCode>,
): Command {
  const options: NonNullable<ParseArgsConfig['options']> = { help: { type: 'boolean' } }
  for (const name of names) options[name] = { type: 'string' }
  return async (args, io) => {
    try {
      const { values } = parseArgs({ args, options })
      if (values.help) {
        io.print(usage)
        return 0
      }
      return await run(values as Partial<Record<Name, string>>, io)
    } catch (error) {
      if (!isUsageError(error)) throw error
      io.complain(`${error.message}\n\n${usage}`)
      return 2
    }
  }
}

function isUsageError(error: unknown): error is Error {
  if (error instanceof UsageError) return true
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_')
}
