import { createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

const { BETTER_AUTH_SECRET = '' } = process.env

/** The user of an HS256 token, verified as a hand-written server would. */
export function userOf({ headers }: IncomingMessage): string | undefined {
  const [header = '', payload = '', signature = ''] = (headers.authorization ?? '').slice(7).split('.')
  const expected = createHmac('sha256', BETTER_AUTH_SECRET).update(`${header}.${payload}`).digest()
  const actual = Buffer.from(signature, 'base64url')
  if (actual.length !== expected.length || !timingSafeEqual(actual, expected)) return undefined
  const { sub, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString())
  return exp > Date.now() / 1000 ? sub : undefined
}
