import { runCommand } from './cli/index.ts'
import { exitWith } from './process/index.ts'

try {
  process.exitCode = await runCommand(process.argv.slice(2), {
    variables: process.env,
    get input() {
      return process.stdin // opened by those commands alone that read it
    },
    print: (line) => process.stdout.write(`${line}\n`),
    complain: (line) => process.stderr.write(`${line}\n`),
  })
} catch (error) {
  exitWith(error)
}
