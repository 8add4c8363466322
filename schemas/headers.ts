import { Type } from '@sinclair/typebox'

/** RFC 9110, 13.1.1. */
export const IfMatch = Type.Object({
  'if-match': Type.Optional(
    Type.String({
      pattern: '^(\\*|[ \\t,]*(W/)?"[^"]*"([ \\t]*,[ \\t,]*(W/)?"[^"]*")*[ \\t,]*)$',
      'x-message': 'must be * or a list of ETags, each in double quotes',
      description: 'Only if the ETag is one of these; otherwise 412',
      examples: ['"3"'],
    }),
  ),
})

/** RFC 9110, 13.1.2. */
export const IfNoneMatch = Type.Object({
  'if-none-match': Type.Optional(
    Type.String({ description: 'Only if the ETag is none of these; otherwise 304', examples: ['"3"'] }),
  ),
})

/** Of an answer with one task. */
export const ETag = { type: 'string', description: 'Of this version, for If-Match and If-None-Match' }
