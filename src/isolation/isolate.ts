import { type Kysely, type QueryCreator, sql } from 'kysely'
import type { Declaration } from './guard/index.ts'
import { nobody, type Owner, type OwnerColumns, ownersOf } from './owner.ts'
import { type CatalogFault, compareCatalog, type Expected } from './catalog.ts'
import { distribute } from './distribute.ts'
import { grantRoles, missingGrants } from './roles.ts'
import { protect } from './row-level-security.ts'
import { confined, type Runner } from './scope.ts'
import { compareShards } from './shards.ts'
import { Settings } from './settings.ts'
import {
  type Audience,
  type Buildable,
  builder,
  type Given,
  type Mine,
  mineOf,
  type ScopedStatement,
  Statement,
  StatementMaker,
} from './statement.ts'

/** The tables, and what owns a row: all walls follow from it. */
export interface IsolateOptions<Principal, Owned, Shared> {
  /** The columns that together own a row, in every owned table, and where the value of each comes from. */
  owner: OwnerColumns<Principal>
  /** Prefix of the PostgreSQL settings that hold the owner: `acme` for `acme.owner_id`. */
  settings: string
  /** Roles without a login that statements run under: one has the owned tables, the other those of nobody. */
  roles: { owned: string; shared: string }
  /** Tables whose rows belong to an owner; the owner columns and `key` are the primary key. */
  owned: { [T in keyof Owned]: { key: keyof Owned[T] & string } }
  /** Tables that belong to nobody. */
  shared: { [T in keyof Shared]: true }
  /** Functions and types that statements may use beyond the built-in ones: they must show no other owner's rows. */
  functions?: readonly string[]
  /** Tables of other services in the same schema that happen to have an owner column. */
  foreign?: readonly string[]
  /** Unique and foreign keys of owned tables that lack the owner columns on purpose. */
  accepted?: readonly string[]
}

/** Statements over all rows that an owner has in one table, for export and erasure. */
export interface OwnedTable {
  readonly name: string
  readonly key: string
  /** The first page, last key first. */
  readonly firstPage: Statement<{ limit: number }, Record<string, unknown>, 'owner'>
  /** The page after a key. */
  readonly nextPage: Statement<{ limit: number; after: unknown }, Record<string, unknown>, 'owner'>
  /** Deletes the first page; nothing while a table that is declared later, and may refer to this one, has rows. */
  readonly deleteFirst: Statement<{ limit: number }, DeletedPage, 'owner'>
  /** Deletes the page after a key. */
  readonly deleteNext: Statement<{ limit: number; after: unknown }, DeletedPage, 'owner'>
}

/** A page that was deleted; no row comes back for an empty one. */
export interface DeletedPage {
  /** The last key of the page. */
  last: unknown
  /** How many rows the page had, those that somebody else deleted meanwhile included. */
  count: number
}

/** Makes the three walls from one declaration. */
export function isolate<Principal, Owned, Shared>(options: IsolateOptions<Principal, Owned, Shared>) {
  const { owner, settings: prefix, roles } = options
  const columns = Object.keys(owner)
  const owned = Object.keys(options.owned)
  const expected: Expected = {
    columns,
    prefix,
    owned,
    shared: Object.keys(options.shared),
    foreign: options.foreign ?? [],
    accepted: options.accepted ?? [],
    roles,
  }
  const statements: Statement<any, unknown, 'owner'>[] = []
  const mine = mineOf<Owned>(columns)
  const declaration: Declaration = {
    owner: columns,
    owned: Object.freeze(owned),
    shared: Object.freeze(Object.keys(options.shared)),
    functions: Object.freeze([...(options.functions ?? [])]),
  }
  Object.freeze(declaration)
  const makerFor = <Of extends Audience>(audience: Of, role: string) =>
    new StatementMaker<Of>({
      declaration,
      owner: owner as OwnerColumns<never>,
      settings: new Settings({ prefix, columns, role }),
      audience,
    })
  const ofOwner = makerFor('owner', roles.owned)
  const ofNobody = makerFor('nobody', roles.shared)

  /**
   * Compiles a statement on owned tables once, and has the guard prove it (the second wall). Call it at module level:
   * a statement that is not bound to one owner then keeps the process from starting.
   *
   * @param build builds the statement from the owner's own tables (`mine`) and placeholders for its values (`given`)
   * @throws UnscopedStatementError if the guard cannot prove the statement
   */
  function statement<Row, Values = Record<never, never>>(
    build: (mine: Mine<Owned>, given: Given<Values>) => Buildable<Row>,
  ): Statement<Values, Row, 'owner'> {
    const made = ofOwner.make<Values, Row>((given) => build(mine, given))
    statements.push(made)
    return made
  }

  /**
   * The same for tables that belong to nobody. Its types have no owned tables, and the guard refuses them.
   * @throws UnscopedStatementError
   */
  function sharedStatement<Row, Values = Record<never, never>>(
    build: (db: QueryCreator<Shared>, given: Given<Values>) => Buildable<Row>,
  ): Statement<Values, Row, 'nobody'> {
    return ofNobody.make<Values, Row>((given) => build(builder as QueryCreator<Shared>, given))
  }

  const tables = Object.entries<{ key: string }>(options.owned).map(([name, { key }]): OwnedTable => {
    const own = mine as unknown as Mine<Record<string, Record<string, unknown>>>
    type Page = { limit: number }
    type NextPage = Page & { after: unknown }
    const rows = ({ limit }: Given<Page>) => own.selectFrom(name).orderBy(key, 'desc').limit(limit)
    const nextRows = (given: Given<NextPage>) => rows(given).where(key, '<', given.after)
    const keys = (page: ReturnType<typeof rows>) => page.select(`${key} as key`)
    const later = owned.slice(owned.indexOf(name) + 1)
    const firstToDelete = (given: Given<Page>) =>
      later.reduce(
        (page, other) =>
          page.where(({ exists, lit, not }) => not(exists(own.rows(other).select(lit(1).as('one'))))),
        keys(rows(given)),
      )
    // An array, so that the rows are locked in the order of the index, and two of these wait for each other in turn.
    const deletion = (page: ReturnType<typeof keys>) => sql<DeletedPage>`
      with page as (${page}),
        gone as (${own.deleteFrom(name).where(key, '=', sql`any(array(select key from page))`)})
      select key as last, count(*) over () as count from page order by key limit 1`
    return {
      name,
      key,
      firstPage: ofOwner.make((given: Given<Page>) => rows(given).selectAll()),
      nextPage: ofOwner.make((given: Given<NextPage>) => nextRows(given).selectAll()),
      deleteFirst: ofOwner.make((given: Given<Page>) => deletion(firstToDelete(given))),
      deleteNext: ofOwner.make((given: Given<NextPage>) => deletion(keys(nextRows(given)))),
    }
  })
  const probes = [
    ofOwner.make(() => (builder as QueryCreator<never>).selectNoFrom((eb) => eb.lit(1).as('one'))),
    ofNobody.make(() => (builder as QueryCreator<never>).selectNoFrom((eb) => eb.lit(1).as('one'))),
  ].map((probe): ScopedStatement => Statement.bind(probe, nobody, {}))

  return {
    statement,
    sharedStatement,
    /**
     * Can be called once, by the code that verifies who is signed in. Returns a function that makes owners of
     * principals.
     */
    claimOwners: ownersOf(owner) as () => (principal: Principal) => Owner,
    /** The third wall, for the migration that creates an owned table. On Citus, its rows go to the workers. */
    async protect(db: Kysely<any>, table: string): Promise<void> {
      await protect(db, table, prefix, columns)
      await distribute(db, table, columns, owned)
    },
    isolation: {
      /** Every statement on an owned table, so that tests can check each of them. */
      statements: statements as readonly Statement<any, unknown, 'owner'>[],
      /** What the guard proves statements against. */
      declaration,
      /** For the scopes of requests: runs the statements of this declaration, and of no other. */
      confine: (runner: Runner): Runner => confined(runner, declaration),
      tables: tables as readonly OwnedTable[],
      /** One statement under each role, which reads nothing. */
      probes: probes as readonly ScopedStatement[],
      /** On Citus, spreads the owned tables over the workers that are not yet. */
      async distribute(db: Kysely<any>): Promise<void> {
        for (const table of owned) await distribute(db, table, columns, owned)
      },
      /** @throws MissingGrantError */
      grantRoles: (db: Kysely<any>, login?: string): Promise<void> => grantRoles(db, expected, login),
      missingGrants: (db: Kysely<any>): Promise<string[]> => missingGrants(db, expected),
      compareCatalog: (db: Kysely<any>, rls: boolean): Promise<CatalogFault[]> =>
        compareCatalog(db, expected, rls),
      compareShards: (db: Kysely<any>, rls: boolean): Promise<CatalogFault[]> =>
        compareShards(db, expected, rls),
    },
  }
}
