// The walls between users. They need Kysely and nothing of this service: isolate() makes them from one declaration of
// the tables.
//
//   declaration ─ isolate() ─┬─ statement()    types: a statement starts from the owner's rows        (wall 1)
//                            │    └ guard      proof: it cannot leave them, or the process won't start (wall 2)
//                            ├─ protect()      policies: PostgreSQL shows no other row                  (wall 3)
//                            └─ claimOwners()  only the code that verifies tokens can make owners
//
// A scope binds statements to its owner; a Runner accepts only such statements.

export type { CatalogFault } from './catalog.ts'
export { type Declaration, prove, UnscopedStatementError } from './guard/index.ts'
export { type DeletedPage, isolate, type IsolateOptions, type OwnedTable } from './isolate.ts'
export { Owner } from './owner.ts'
export { MissingGrantError } from './roles.ts'
export { type Runner, SharedScope, UserScope } from './scope.ts'
export type { BoundStatement } from './settings.ts'
export { type Given, type Mine, ScopedStatement, type Statement } from './statement.ts'
