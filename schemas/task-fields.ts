import { type Static, type TSchema, Type } from '@sinclair/typebox'

// The fields that a client may set, each said once: what a body may hold, what an answer has, and what is stored for
// what was sent. Bodies, answers, statements and the document follow. Another field is an entry here, with the name of
// its column, which is declared in src/tables.ts and made in a migration.

interface Field<Body extends TSchema, Answer extends TSchema> {
  body: Body
  answer: Answer
  /** Of a task that was made without it; undefined where each task needs one. */
  none?: Static<Answer>
  /** Default: what was sent is stored. */
  stored?: (sent: Static<Body>) => Static<Answer>
}
const field = <Body extends TSchema, Answer extends TSchema>(options: Field<Body, Answer>) => options

// `type: [string, null]` rather than anyOf: one branch for the validator and the serializer.
const nullable = <T = string>(options: object) =>
  Type.Unsafe<T | null>({ type: ['string', 'null'], ...options })

export const PRIORITIES = ['low', 'medium', 'high'] as const
export type Priority = (typeof PRIORITIES)[number]

/** ISO 8601 in UTC for a value of the format `instant`: a date is its midnight, as in JavaScript and pydantic. */
export const toInstant = (text: string): string => new Date(text.toUpperCase()).toISOString()

/** Without blanks around them, without empty ones, and of those that differ by case alone the first. */
function tidy(tags: readonly string[]): string[] {
  const trimmed = tags.map((tag) => tag.trim()).filter(Boolean)
  const known = trimmed.map((tag) => tag.toLowerCase())
  return trimmed.filter((_, i) => known.indexOf(known[i] as string) === i)
}

// A form whose field is left empty sends '': here that is none.
const due = {
  format: 'instant',
  description:
    'RFC 3339 with an offset, or a date, which is its midnight in UTC; null or empty: none. Kept in milliseconds',
  examples: ['2026-12-01', '2026-12-01T17:00:00+02:00', null],
}
const isDue = { format: 'date-time', examples: ['2026-12-01T00:00:00.000Z', null] }

export const fields = {
  title: field({
    body: Type.String({
      minLength: 1,
      maxLength: 255,
      format: 'text',
      pattern: '\\S',
      'x-message': 'must not be blank, or hold NUL or half of a surrogate pair',
      description: '1–255 characters, not all blank',
      examples: ['Buy milk'],
    }),
    answer: Type.String({ examples: ['Buy milk'] }),
  }),
  description: field({
    body: nullable({ maxLength: 1000, format: 'text', examples: ['Two litres', null] }),
    answer: nullable({ examples: ['Two litres', null] }),
    none: null,
  }),
  completed: field({
    body: Type.Boolean({ examples: [false] }),
    answer: Type.Boolean({ examples: [false] }),
    none: false,
  }),
  priority: field({
    body: nullable<Priority | ''>({
      enum: [...PRIORITIES, '', null],
      description: 'null or empty: none',
      examples: ['high', null],
    }),
    answer: nullable<Priority>({ enum: [...PRIORITIES, null], examples: ['high', null] }),
    none: null,
    stored: (sent) => sent || null,
  }),
  due_at: field({
    body: nullable(due),
    answer: nullable({ ...isDue, description: 'When it is due (UTC)' }),
    none: null,
    stored: (sent) => (sent ? toInstant(sent) : null),
  }),
  tags: field({
    body: Type.Unsafe<string[] | null>({
      type: ['array', 'null'],
      maxItems: 20,
      items: {
        type: 'string',
        format: 'tag', // no pattern: one that passes over the blanks takes the square of their number
        'x-message': 'must have at most 50 characters, and no control characters',
      },
      description: 'Up to 20 of 1–50 characters. Those that differ by case or blanks around them are one',
      examples: [['home', 'Urgent'], []],
    }),
    answer: Type.Array(Type.String(), { examples: [['home', 'Urgent'], []] }),
    none: [],
    stored: (sent) => tidy(sent ?? []),
  }),
}

// Other names of fields, as front ends of older services have them. The field's own name takes precedence.
const state = Type.Unsafe<boolean | string>({
  type: ['boolean', 'string'],
  enum: [true, false, 'completed', 'pending'],
  deprecated: true,
  description: 'Another name of `completed`, which takes precedence',
  examples: ['pending'],
})
const isCompleted = (sent: unknown) => sent === true || sent === 'completed'
const aliases = {
  due_date: {
    of: 'due_at',
    body: nullable({
      ...due,
      deprecated: true,
      description: 'Another name of `due_at`, which takes precedence',
    }),
    sent: (value: unknown) => value,
  },
  is_completed: { of: 'completed', body: state, sent: isCompleted },
  completion_status: { of: 'completed', body: state, sent: isCompleted },
  status: { of: 'completed', body: state, sent: isCompleted },
} as const satisfies Record<string, { of: FieldName; body: TSchema; sent(value: unknown): unknown }>

/** What front ends send that there is not, and what there is instead, for the sentence of a 422. */
export const INSTEAD = { category: 'tags', categories: 'tags', done: 'completed' }

type Fields = typeof fields
export type FieldName = keyof Fields
export const FIELDS = Object.keys(fields) as FieldName[]

/** The fields as they are stored. */
export type TaskValues = { [Name in FieldName]: Static<Fields[Name]['answer']> }

/** One value for each field. */
export const eachField = <T>(make: (name: FieldName) => T) =>
  Object.fromEntries(FIELDS.map((name) => [name, make(name)])) as Record<FieldName, T>

export const bodies = {
  ...(eachField((name) => fields[name].body) as { [Name in FieldName]: Fields[Name]['body'] }),
  ...(Object.fromEntries(Object.entries(aliases).map(([name, { body }]) => [name, body])) as {
    [Name in keyof typeof aliases]: (typeof aliases)[Name]['body']
  }),
}
export const answers = {
  ...(eachField((name) => fields[name].answer) as { [Name in FieldName]: Fields[Name]['answer'] }),
  // Most of the front ends that set it read it by this name.
  due_date: nullable({ ...isDue, deprecated: true, description: 'The same as `due_at`' }),
}

/** What a new task has where its request says nothing. */
export const DEFAULTS = eachField((name) => fields[name].none) as TaskValues

/** What two requests with one Idempotency-Key must share. Later fields count if set: older keys were stored without them. */
export const comparable = ({ title, description, completed, ...later }: TaskValues) => ({
  title,
  description,
  completed,
  ...Object.fromEntries(
    Object.entries(later).filter(
      ([name, value]) => String(value ?? '') !== String(DEFAULTS[name as FieldName] ?? ''),
    ),
  ),
})

const ALIASES = Object.entries(aliases)

/** What a body sets, by the fields' own names, as it is stored. */
export function valuesIn(body: Partial<Record<keyof typeof bodies, unknown>>): Partial<TaskValues> {
  const values: Record<string, unknown> = {}
  const set = (name: FieldName, sent: unknown) => {
    const { stored } = fields[name] as Field<TSchema, TSchema>
    values[name] = stored ? stored(sent) : sent
  }
  for (const [name, { of, sent }] of ALIASES) {
    const value = body[name as keyof typeof aliases]
    if (value !== undefined) set(of, sent(value))
  }
  for (const name of FIELDS) if (body[name] !== undefined) set(name, body[name])
  return values
}
