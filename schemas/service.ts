import { Type } from '@sinclair/typebox'

export const Service = Type.Object({
  name: Type.String({ examples: ['taskward'] }),
  version: Type.String({ examples: ['1.0.0'] }),
  links: Type.Record(Type.String(), Type.String(), { examples: [{ tasks: '/todos', docs: '/docs' }] }),
})

export const Health = Type.Object({ status: Type.Literal('healthy') })

export const Readiness = Type.Object({
  status: Type.Literal('ready'),
  database: Type.Literal('up'),
  limits: Type.Unsafe<'local' | 'shared' | 'redis_down'>({
    type: 'string',
    enum: ['local', 'shared', 'redis_down'],
    description:
      'Where requests are counted: in each instance, or in Redis. While Redis does not work, each instance counts by itself',
  }),
  row_level_security: Type.Union([Type.Literal('on'), Type.Literal('off')]),
})

export const Me = Type.Object({
  user_id: Type.String({ examples: ['rMGRY14tPdnDx0704nNR7CJ98OadRhdg'] }),
  email: Type.Unsafe<string | null>({ type: ['string', 'null'], examples: ['ada@example.com'] }),
  authenticated: Type.Literal(true),
})
