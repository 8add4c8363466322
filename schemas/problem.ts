import { type Static, Type } from '@sinclair/typebox'

/** Every `code` there is: its status, and an example of its `detail`, or of each thing that it may mean. Codes are never renamed. */
export const CODES: Record<string, [status: number, detail: string, ...others: string[]]> = {
  malformed_json: [400, 'The body is not valid JSON in UTF-8.'],
  malformed_request: [400, 'A request needs one Host header.'],
  malformed_url: [400, 'The address has a percent sign that is not followed by valid UTF-8.'],
  bad_request: [400, 'The request cannot be understood.'],
  email_taken: [400, 'An account with this email exists already'],
  inactive_user: [400, 'Inactive user'],
  missing_token: [401, 'Missing token'],
  invalid_token: [401, 'Invalid token'],
  token_expired: [401, 'Token expired'],
  missing_user_id: [401, 'Invalid token: missing user_id'],
  invalid_credentials: [401, 'Invalid email or password'],
  invalid_refresh_token: [401, 'Invalid refresh token'],
  forbidden: [403, 'The path names another user than the token.'],
  banned: [403, 'This user is banned'],
  task_not_found: [404, 'Task not found'],
  not_found: [404, 'There is nothing at this path. /openapi.json lists the paths.'],
  method_not_allowed: [405, 'This path accepts GET, HEAD, POST.'],
  request_timeout: [408, 'The request did not arrive in time.'],
  already_exists: [409, 'Something with these values exists already.'],
  reference_violated: [409, 'It refers to something that does not exist, or is referred to itself.'],
  precondition_failed: [412, 'The task was changed meanwhile: read it again.'],
  body_too_large: [413, 'The body is too large.'],
  url_too_long: [414, 'A part of the path is too long.'],
  unsupported_media_type: [415, 'Send the body as application/json.'],
  expectation_failed: [417, 'Of all expectations only 100-continue is met.'],
  validation_failed: [422, 'title must have at most 255 characters (and 1 more in errors)'],
  value_not_allowed: [422, 'A value is not allowed here.'],
  text_not_allowed: [422, 'A text has a character that cannot be stored, such as NUL.'],
  idempotency_key_reused: [422, 'This Idempotency-Key came with another body before.'],
  too_many_requests: [429, 'Too many requests. Try again in 42 seconds.'],
  too_many_at_once: [429, 'Too many requests at once. Try again shortly.'],
  headers_too_large: [431, 'The address and the headers are too large together.'],
  internal_error: [500, 'Something went wrong here. It is in the log under the request id.'],
  database_unavailable: [503, 'The database did not answer in time. Try again shortly.'],
  outcome_unknown: [503, 'It may have been done: look before you repeat it.'],
  storage_full: [503, 'The database has no room left: nothing can be changed for now.'],
  keys_unavailable: [503, 'The token issuer cannot be reached. Try again shortly.'],
  busy: [
    503,
    'Earlier requests of yours take too long. Try again shortly.',
    'Too many long lists are asked for. Try again shortly.',
    'Too many people are signing in right now. Try again shortly.',
    'Too many requests wait for the database. Try again shortly.',
  ],
  read_only: [503, 'The database takes no writes: it is read-only, or a standby.'],
  not_migrated: [503, 'The database lacks migrations. Run: npm run migrate'],
  isolation_broken: [503, 'The walls between users are not as declared. Run: npm run doctor'],
  role_missing: [503, 'A role lacks rights on its tables. Run: npm run doctor'],
  draining: [503, 'The service is shutting down.'],
}

/** The body of every failure: RFC 9457, plus `error` and `status_code` for clients of older FastAPI services. */
export const Problem = Type.Object(
  {
    title: Type.String({ description: 'The name of the status', examples: ['Not Found'] }),
    status: Type.Integer({ examples: [404] }),
    detail: Type.String({ description: 'What happened and what to do', examples: ['Task not found'] }),
    code: Type.Unsafe<string>({
      type: 'string',
      enum: Object.keys(CODES),
      description: 'Stable and machine-readable',
      examples: ['task_not_found'],
    }),
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
    hint: Type.Optional(
      Type.String({
        description: 'With status 401, and only where NODE_ENV is development: why the token was refused',
      }),
    ),
  },
  { $id: 'Problem', title: 'Problem' },
)
export type Problem = Static<typeof Problem>
