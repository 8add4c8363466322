import { type Static, Type } from '@sinclair/typebox'
import { ref } from './responses.ts'
import { StoredTask } from './task.ts'

const strict = { additionalProperties: false }

const email = Type.String({
  maxLength: 254,
  format: 'email',
  description: 'Case-insensitive',
  examples: ['ada@example.com'],
})
// bcrypt reads 72 bytes and no NUL: src/passwords.ts checks the bytes.
const password = (examples: string[]) =>
  Type.String({ minLength: 1, maxLength: 128, format: 'text', examples })

export const SignUp = Type.Object(
  {
    email,
    password: Type.String({
      minLength: 8,
      maxLength: 72,
      format: 'text',
      description: '8 characters to 72 bytes, and not a common one',
      examples: ['correct horse battery staple'],
    }),
    name: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 255,
        format: 'line',
        description: 'Default: what is before the @ of the address',
        examples: ['Ada'],
      }),
    ),
  },
  { $id: 'SignUp', title: 'SignUp', ...strict },
)
export type SignUp = Static<typeof SignUp>

export const SignIn = Type.Object(
  {
    email: Type.String({ maxLength: 254, format: 'text', examples: ['ada@example.com'] }),
    password: password(['correct horse battery staple']),
  },
  { $id: 'SignIn', title: 'SignIn', ...strict },
)
export type SignIn = Static<typeof SignIn>

const refresh_token = Type.String({ minLength: 1, maxLength: 128, examples: ['cSE0vUmJ…'] })

export const Refresh = Type.Object({ refresh_token }, { $id: 'Refresh', title: 'Refresh', ...strict })
export type Refresh = Static<typeof Refresh>

export const DeleteAccount = Type.Object(
  { password: Type.Optional(password(['correct horse battery staple'])) },
  {
    $id: 'DeleteAccount',
    title: 'DeleteAccount',
    description: 'Local accounts need their password',
    examples: [{}, { password: 'correct horse battery staple' }],
    ...strict,
  },
)
export type DeleteAccount = Static<typeof DeleteAccount>

export const Session = Type.Object(
  {
    success: Type.Literal(true),
    data: Type.Object({
      token: Type.String({ description: 'The bearer token' }),
      expires_in: Type.Integer({ description: 'Seconds until it expires', examples: [604800] }),
      refresh_token: Type.String({
        description: 'For one POST /api/auth/refresh, which returns the next one',
      }),
      user: Type.Object({
        id: Type.String({ examples: ['0b0e8f9c-4f6c-4a53-9e0e-9d0ad1f6a8a1'] }),
        email: Type.String({ examples: ['ada@example.com'] }),
        name: Type.String({ examples: ['Ada'] }),
      }),
    }),
  },
  { $id: 'Session', title: 'Session' },
)
export type Session = Static<typeof Session>

export const Success = Type.Object({ success: Type.Literal(true) }, { $id: 'Success', title: 'Success' })

export const Export = Type.Object(
  {
    user: Type.Object({ id: Type.String(), email: Type.Unsafe<string | null>({ type: ['string', 'null'] }) }),
    account: Type.Unsafe<object | null>({
      type: ['object', 'null'],
      description: 'null without a local account',
      properties: {
        id: Type.String(),
        email: Type.String(),
        name: Type.String(),
        created_at: Type.String({ format: 'date-time' }),
      },
    }),
    tasks: Type.Array(ref(StoredTask)),
  },
  { $id: 'Export', title: 'Export' },
)

export const AccountDeleted = Type.Object(
  { message: Type.Literal('Account deleted successfully') },
  { $id: 'AccountDeleted', title: 'AccountDeleted' },
)
