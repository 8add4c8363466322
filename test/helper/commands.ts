import { runCommand } from '../../src/cli/index.ts'
import type { Variables } from '../../src/config.ts'

/** Runs a command of src/cli.ts in this process. */
export async function command(args: string[], variables: Variables = {}, input = '') {
  const printed: string[] = []
  const complaints: string[] = []
  const code = await runCommand(args, {
    variables,
    input: (async function* () {
      if (input) yield Buffer.from(input)
    })(),
    print: (line) => void printed.push(line),
    complain: (line) => void complaints.push(line),
  })
  return { code, stdout: printed.join('\n'), stderr: complaints.join('\n') }
}
