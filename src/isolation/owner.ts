/** The owner columns of a row, each with a function that returns its value for whoever is signed in. */
export type OwnerColumns<Principal> = Readonly<Record<string, (principal: Principal) => string>>

// Known only to this file: whoever has it can make owners.
const KEY = Symbol('owner')

/**
 * Whose rows a scope reaches. No string and no object literal fits this type, and only the function of `claimOwners()`
 * makes one.
 */
export class Owner {
  readonly #columns: OwnerColumns<never> | undefined
  readonly #values: readonly string[]

  constructor(key: typeof KEY, columns: OwnerColumns<never> | undefined, values: readonly string[]) {
    if (key !== KEY) throw new TypeError('only the function of claimOwners() makes an owner')
    this.#columns = columns
    this.#values = Object.freeze(values)
  }

  /**
   * The values of the owner columns, in the order of the declaration; none for nobody.
   * @throws TypeError for the owner of another declaration
   */
  static valuesOf(owner: Owner, columns: OwnerColumns<never>): readonly string[] {
    if (owner.#columns && owner.#columns !== columns)
      throw new TypeError('this owner is of another declaration')
    return owner.#values
  }
}

Object.freeze(Owner)
Object.freeze(Owner.prototype)

/** The owner of no row, for statements on tables that belong to nobody. */
export const nobody = new Owner(KEY, undefined, [])

/**
 * Makes `claimOwners` for one declaration. It can be called once in a process: the code that verifies who is signed in
 * calls it when it loads, and from then on nothing else can name an owner.
 */
export function ownersOf<Principal>(columns: OwnerColumns<Principal>): () => (principal: Principal) => Owner {
  const readers = Object.entries(columns)
  let claimed = false
  return () => {
    if (claimed) throw new Error('claimOwners() was called before: owners are made in one place')
    claimed = true
    return (principal) =>
      new Owner(
        KEY,
        columns,
        readers.map(([column, read]) => {
          const value = read(principal)
          if (typeof value !== 'string' || value === '') throw new TypeError(`no value for ${column}`)
          return value
        }),
      )
  }
}
