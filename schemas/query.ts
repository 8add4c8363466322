import { Type } from '@sinclair/typebox'

/** What a query may hold besides what its operation knows: names that begin with `_`, such as those of cache busters. */
export const strictQuery = { additionalProperties: false, patternProperties: { '^_': {} } }

/** The query of an operation that knows no parameter. */
export const NoQuery = Type.Object({}, strictQuery)
