// Whether a statement stays within one owner's rows, proved on the text that will be sent.
//
//   parse (PostgreSQL's own parser) ─ guard (what must hold) ─┬─ sources (which rows come in)
//                                                             ├─ equalities (what they are equal to)
//                                                             └─ lists, syntax, functions (what may occur in it at all)

export { type Declaration, prove, type Proof, UnscopedStatementError } from './guard.ts'
