import { isUtf8 } from 'node:buffer'
import { Ajv, type AnySchemaObject } from 'ajv'
import type { FastifySchemaValidationError } from 'fastify'
import fp from 'fastify-plugin'
import { Problem as ProblemSchema } from '../schemas/problem.ts'
import { Erased, Erasure, Export, Refresh, Session, SignIn, SignUp, Success } from '../schemas/account.ts'
import { Completion, Deleted, NewTask, Task, TaskChange, TaskStats } from '../schemas/task.ts'
import { Problem } from '../src/problem.ts'

const SHARED = [
  ProblemSchema,
  Task,
  NewTask,
  TaskChange,
  Completion,
  TaskStats,
  Deleted,
  SignUp,
  SignIn,
  Refresh,
  Session,
  Success,
  Erasure,
  Erased,
  Export,
]

/**
 * Validates strictly: unknown fields are refused, not dropped, and no value of a wrong JSON type is made to fit.
 * Only what can come as nothing but text, the path and the query, is read as the type that its schema asks for.
 */
export default fp(
  async (app) => {
    for (const schema of SHARED) app.addSchema(schema)

    const ajv = new Ajv({ allErrors: true, useDefaults: true, allowUnionTypes: true })
    ajv.addFormat('date-time', true) // stands in answers alone, which are not validated
    ajv.addFormat('email', /^[^\s@\p{Cc}\p{Cs}]+@[^\s@\p{Cc}\p{Cs}]+\.[^\s@\p{Cc}\p{Cs}]+$/u)
    app.setValidatorCompiler<AnySchemaObject>(({ schema, httpPart }) => {
      for (const shared of Object.values(app.getSchemas()) as AnySchemaObject[]) {
        if (!ajv.getSchema(shared.$id as string)) ajv.addSchema(shared)
      }
      const validate = ajv.compile(schema)
      if (httpPart === 'body') return validate
      const properties = Object.entries((schema.properties ?? {}) as Record<string, AnySchemaObject>)
      return (data: Record<string, unknown>) => {
        readText(data, properties)
        return validate(data) ? { value: data } : { error: validate.errors as FastifySchemaValidationError[] }
      }
    })

    // JSON announced but no body is no body at all: many clients set the type on every request.
    const parseJson = app.getDefaultJsonParser('error', 'error')
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
      if (body.length === 0) return done(null, undefined)
      if (!isUtf8(body)) return done(notJson())
      parseJson(request, body.toString(), (error, value) => (error ? done(notJson()) : done(null, value)))
    })
  },
  { name: 'validation', dependencies: ['errors'] },
)

const notJson = () => new Problem(400, 'malformed_json', 'The body is not valid JSON in UTF-8.')

/** Reads decimal integers and booleans in place; whatever else stands there stays text, and is refused as such. */
function readText(data: Record<string, unknown>, properties: [name: string, AnySchemaObject][]): void {
  for (const [name, { type }] of properties) {
    const value = data[name]
    if (typeof value !== 'string') continue
    if (type === 'integer' && /^(0|-?[1-9]\d{0,18})$/.test(value)) data[name] = Number(value)
    if (type === 'boolean' && /^(true|false)$/.test(value)) data[name] = value === 'true'
  }
}
