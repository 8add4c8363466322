import { setFlagsFromString } from 'node:v8'
import { loadModule, parseSync, scanSync } from 'libpg-query'
import type { Node } from './equalities.ts'
import { refuse, UnscopedStatementError } from './refusal.ts'

// V8 would optimize the parser's largest functions, of which one takes two seconds and 500 MB, to save milliseconds. Those
// that are first called here are not optimized: no function has the number 0.
setFlagsFromString('--wasm-tier-up-filter=0')
await loadModule()
parseSync('select')
scanSync('select')
setFlagsFromString('--wasm-tier-up-filter=-1')

/**
 * Reads one statement with PostgreSQL 18's own parser.
 * @throws UnscopedStatementError if it is not one, or if some server could read it otherwise
 */
export function parse(text: string): Node {
  if (text.includes('\0') || !text.isWellFormed()) refuse('it is not well-formed text')
  try {
    const { stmts } = parseSync(text) as Node
    if (stmts.length !== 1) refuse(`it is ${stmts.length} statements, not one`)
    for (const token of scanSync(text).tokens) sameReading(token)
    return stmts[0].stmt
  } catch (error) {
    if (error instanceof UnscopedStatementError) throw error
    return refuse(`PostgreSQL's parser cannot read it: ${(error as Error).message}`, '(none)', {
      cause: error,
    })
  }
}

/** Refuses what older servers, or `standard_conforming_strings = off`, could read otherwise. */
function sameReading({ text, tokenName }: { text: string; tokenName: string }): void {
  if (tokenName === 'SCONST' && text.startsWith("'") && text.includes("\\'"))
    refuse(`${text} ends in a backslash, which may quote its end: write E'…' and double the backslash`)
  if (['ICONST', 'FCONST'].includes(tokenName) && [...text].some((sign) => !'0123456789.eE+-'.includes(sign)))
    refuse(`older servers read the number ${text} otherwise: write it in plain digits`)
  if (tokenName === 'IDENT' && Buffer.byteLength(text) > (text.startsWith('"') ? 65 : 63))
    refuse(`the name ${text} is longer than 63 bytes`)
}
