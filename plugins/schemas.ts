import { Ajv, type AnySchema, type AnySchemaObject, type ValidateFunction } from 'ajv'
import buildSerializer, { type Schema } from 'fast-json-stringify'
import type {
  FastifySchemaCompiler,
  FastifySchemaValidationError,
  FastifySerializerCompiler,
  FastifyServerOptions,
} from 'fastify'
import fp from 'fastify-plugin'
import { NoQuery } from '../schemas/query.ts'
import { named } from '../schemas/responses.ts'
import { isVisible } from '../src/tokens/index.ts'

/** Registers the schemas that ref() has named, before a route refers to them, and makes queries strict. */
export default fp(
  async (app) => {
    app.addHook('onRoute', ({ schema }) => {
      // One rule for all documented routes: what a query names must be known.
      if (schema && !schema.hide) schema.querystring ??= NoQuery
      for (const schema of named()) if (!app.getSchema(schema.$id)) app.addSchema(schema)
    })
  },
  { name: 'schemas' },
)

const DATE = /^\d{4}-\d\d-\d\d$/
const DATE_TIME =
  /^(\d{4}-\d\d-\d\d)[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$/
const isDate = (text: string): boolean =>
  DATE.test(text) && new Date(`${text}T00:00Z`).toJSON()?.startsWith(text) === true

const isDateTime = (text: string): boolean => isDate(DATE_TIME.exec(text)?.[1] ?? '')
/** Whether JavaScript and PostgreSQL both write it with a year of four digits, in UTC. */
const isOfOurEra = (text: string): boolean => {
  const year = new Date(text.toUpperCase()).getUTCFullYear()
  return year >= 1 && year <= 9999
}

const isLine = (text: string): boolean => !/\p{Cc}/u.test(text) && text.isWellFormed()

/** The values of `format` that schemas can use. Those of JSON Schema mean what they mean there. */
const FORMATS: Record<string, (text: string) => boolean> = {
  // PostgreSQL's text cannot hold NUL, and UTF-8 no half of a surrogate pair.
  text: (text) => !text.includes('\0') && text.isWellFormed(),
  line: isLine,
  // Without the blanks around it.
  tag: (text) => isLine(text) && [...text.trim()].length <= 50,
  // Two addresses that look the same are the same.
  email: (text) => isVisible(text) && /^[^@]+@[^@]+\.[^@]+$/.test(text),
  date: isDate,
  'date-time': isDateTime,
  // A date or a date and time; empty: none.
  instant: (text) => text === '' || ((isDate(text) || isDateTime(text)) && isOfOurEra(text)),
  uuid: (text) => /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text),
  uri: (text) => /^[a-z][a-z\d+.-]*:[!-~]+$/i.test(text) && URL.canParse(text),
}

type Compilers = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>

/**
 * Compiles the routes' schemas for Fastify: each distinct one once, however many routes and mounts share it.
 *
 * Validates strictly: unknown fields are refused, not dropped, and no value of a wrong JSON type is coerced. Only the
 * path and the query, which are always text, are read as the types in their schemas.
 */
export function schemaCompilers(): Compilers {
  const ajv = new Ajv({
    allErrors: true,
    useDefaults: true,
    allowUnionTypes: true,
    allowMatchingProperties: true,
    verbose: true, // a fault brings its schema, which may have a message of its own
    formats: FORMATS,
    keywords: ['x-message', 'x-instead'],
  })
  const validators = new Map<string, ValidateFunction>()
  const serializers = new Map<string, (data: unknown) => string>()

  const compilers = {
    buildValidator:
      (external: Record<string, AnySchema | AnySchema[]>): FastifySchemaCompiler<AnySchemaObject> =>
      ({ schema, httpPart }) => {
        for (const [id, shared] of Object.entries(external))
          if (!ajv.getSchema(id)) ajv.addSchema(withinBounds(shared))
        const validate = once(validators, schema, () => ajv.compile(withinBounds(schema)))
        if (httpPart === 'body') return validate
        const properties = Object.entries(
          (schema.properties ?? {}) as Record<string, AnySchemaObject>,
        ).filter(([, { type }]) => type === 'integer' || type === 'boolean')
        return (data: Record<string, unknown>) => {
          readText(data, properties)
          // It was read in place. Headers that are given back would be copied each time that a request is asked for them.
          return validate(data) ? true : { error: validate.errors as FastifySchemaValidationError[] }
        }
      },
    buildSerializer:
      (external: unknown): FastifySerializerCompiler<AnySchemaObject> =>
      ({ schema }) =>
        once(serializers, schema, () =>
          buildSerializer(schema as Schema, { schema: external as Record<string, Schema> }),
        ),
  }
  return compilers as unknown as Compilers // its type covers only Fastify's own compilers
}

/** The same, but of an array with too many items that is the only fault: each item could have its own. */
function withinBounds<T>(schema: T): T {
  return JSON.parse(JSON.stringify(schema), (_, part) => {
    if (part?.maxItems === undefined || part.items === undefined) return part
    const { items, maxItems, ...rest } = part
    return { ...rest, maxItems, if: { minItems: maxItems + 1 }, else: { items } }
  })
}

function once<T>(known: Map<string, T>, schema: unknown, make: () => T): T {
  const key = JSON.stringify(schema)
  const made = known.get(key) ?? make()
  known.set(key, made)
  return made
}

/** Reads decimal integers and booleans in place; anything else stays text, and is refused as such. */
function readText(data: Record<string, unknown>, properties: [name: string, AnySchemaObject][]): void {
  for (const [name, { type }] of properties) {
    const value = data[name]
    if (typeof value !== 'string') continue
    if (type === 'integer' && /^(0|-?[1-9]\d{0,18})$/.test(value)) data[name] = Number(value)
    // Python writes True.
    if (type === 'boolean' && /^(true|false)$/i.test(value)) data[name] = value.toLowerCase() === 'true'
  }
}
