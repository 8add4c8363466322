// What the commands of src/cli.ts do.

export { runCommand } from './commands.ts'
export { examine, type Examination } from './doctor.ts'
export { proveLines } from './prove.ts'
export { mintToken, type TokenOptions } from './mint-token.ts'
