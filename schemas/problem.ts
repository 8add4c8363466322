import { type Static, Type } from '@sinclair/typebox'

/** The body of every failure: RFC 9457, plus `error` and `status_code` for clients of older FastAPI services. */
export const Problem = Type.Object(
  {
    title: Type.String({ description: 'The name of the status', examples: ['Not Found'] }),
    status: Type.Integer({ examples: [404] }),
    detail: Type.String({ description: 'What happened and what to do', examples: ['Task not found'] }),
    code: Type.String({ description: 'Stable and machine-readable', examples: ['task_not_found'] }),
    request_id: Type.String({ description: 'Also in the X-Request-Id header and in the log' }),
    error: Type.String({ description: 'Repeats title' }),
    status_code: Type.Integer({ description: 'Repeats status' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          loc: Type.Array(Type.String(), { examples: [['body', 'title']] }),
          msg: Type.String({ examples: ['is required'] }),
          type: Type.String({ examples: ['required'] }),
        }),
        { description: 'With status 422: each fault found' },
      ),
    ),
  },
  { $id: 'Problem', title: 'Problem' },
)
export type Problem = Static<typeof Problem>
