// No examples: Swagger UI would send them.
import { Type } from '@sinclair/typebox'

/** RFC 9110, 13.1.1. */
export const IfMatch = Type.Object({
  'if-match': Type.Optional(
    Type.String({
      pattern: '^(\\*|[ \\t,]*(W/)?"[^"]*"([ \\t]*,[ \\t,]*(W/)?"[^"]*")*[ \\t,]*)$',
      'x-message': 'must be * or a list of ETags, each in double quotes',
      description: 'Only if the ETag is one of these, such as "3"; otherwise 412',
    }),
  ),
})

/** RFC 9110, 13.1.2. */
export const IfNoneMatch = Type.Object({
  'if-none-match': Type.Optional(
    Type.String({ description: 'Only if the ETag is none of these, such as "3"; otherwise 304' }),
  ),
})

/** A string of RFC 8941, as draft-ietf-httpapi-idempotency-key-header-07 wants it, or bare, as it is often sent. */
export const IdempotencyKey = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      pattern: '^("([!#-\\[\\]-~]|\\\\["\\\\]){1,255}"|[!#-~][!-~]{0,254})$',
      'x-message': 'must be 1 to 255 visible ASCII characters, in double quotes or without any',
      description:
        'A UUID, for one: a request that is repeated with it within 24 hours is done once, and answered the same',
    }),
  ),
})

/** Of an answer with one task. */
export const ETag = { type: 'string', description: 'Of this version, for If-Match and If-None-Match' }
