// What the commands of src/cli.ts do.

export { examine, type Examination } from './doctor.ts'
export { proveLines } from './prove.ts'
export { mintToken, type TokenOptions } from './mint-token.ts'
