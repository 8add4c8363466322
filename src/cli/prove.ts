import { parseArgs } from 'node:util'
import { type Declaration, prove, UnscopedStatementError } from '../isolation/index.ts'
import { isolation } from '../tables.ts'

const usage = `Usage:
  npm run -s prove -- [--owner user_id] [--owned a,b] [--shared c] [--functions f,g] < statements.sql

Reads SQL statements from standard input, one per line, and prints for each whether it is proved to stay within one
owner's rows: {"ok":true} or {"ok":false,"why":"…"}. $1 is the owner; several owner columns are $1, $2, … in order.
Exits with 1 if one is refused. Without options, the tables are the service's own.`

const options = {
  owner: { type: 'string' },
  owned: { type: 'string' },
  shared: { type: 'string' },
  functions: { type: 'string' },
  help: { type: 'boolean' },
} as const

export interface Streams {
  input: AsyncIterable<Uint8Array>
  print(line: string): void
  /** Prints what is wrong with the arguments, and the usage. */
  complain(line: string): void
}

/**
 * The command `prove`: prints one JSON line for each statement that it reads.
 * @returns the exit code: 0, 1 if a statement is refused, 2 if the arguments are invalid
 */
export async function proveLines(args: string[], { input, print, complain }: Streams): Promise<0 | 1 | 2> {
  let declaration: Declaration
  try {
    const { values } = parseArgs({ args, options })
    if (values.help) {
      print(usage)
      return 0
    }
    declaration = declared(values)
  } catch (error) {
    complain(`${(error as Error).message}\n\n${usage}`)
    return 2
  }
  let code: 0 | 1 = 0
  for await (const line of linesOf(input)) {
    if (line.trim() === '') continue
    const why = refusal(line, declaration)
    print(JSON.stringify(why === undefined ? { ok: true } : { ok: false, why }))
    if (why !== undefined) code = 1
  }
  return code
}

/** Splits at line feeds only: node:readline would also split a statement at U+2028. */
async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of input) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  yield rest + decoder.decode()
}

/** A declaration that names tables replaces all tables of the service. */
function declared({ owner, owned, shared, functions }: { [K in keyof Declaration]?: string }): Declaration {
  const own = owned !== undefined || shared !== undefined
  const list = (text: string | undefined, otherwise: readonly string[] = []) =>
    text === undefined
      ? otherwise
      : text
          .split(',')
          .map((name) => name.trim())
          .filter(Boolean)
  const made = {
    owner: list(owner, isolation.declaration.owner),
    owned: list(owned, own ? [] : isolation.declaration.owned),
    shared: list(shared, own ? [] : isolation.declaration.shared),
    functions: list(functions, isolation.declaration.functions),
  }
  if (made.owner.length === 0) throw new Error('--owner names no column')
  return made
}

function refusal(sql: string, declaration: Declaration): string | undefined {
  try {
    prove(sql, declaration, declaration.owner, 'owner')
    return undefined
  } catch (error) {
    if (error instanceof UnscopedStatementError) return error.message
    throw error
  }
}
