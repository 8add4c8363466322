import { type Static, type TSchema, Type } from '@sinclair/typebox'

type Named = TSchema & { $id: string }

const schemas = new Map<string, Named>()

/** Refers to a schema by its `$id`, and registers it: the document has it once, under its title. */
export function ref<T extends TSchema>(schema: T) {
  if (!isNamed(schema)) throw new TypeError('ref() needs a schema with an $id')
  schemas.set(schema.$id, schema)
  return Type.Unsafe<Static<T>>(Type.Ref(schema.$id))
}

const isNamed = (schema: TSchema): schema is Named => schema.$id !== undefined

/** Every schema given to ref() so far. */
export const named = (): Iterable<Named> => schemas.values()

/** A successful response: the schema of its body, its description and its headers. */
export function response<T extends TSchema>(
  schema: T,
  description: string,
  headers?: Record<string, object>,
): T {
  return { ...schema, description, ...(headers && { headers }) }
}
