import { randomBytes } from 'node:crypto'
import type { LightMyRequestResponse as Response } from 'fastify'
import type { App, Identity } from './app.ts'

export const ORIGIN = 'https://app.example.com'

/** One group of an IPv6 address. */
export const group = () => randomBytes(2).toString('hex')

export const list = (app: App, { headers }: Identity, remoteAddress?: string) =>
  app.inject({ url: '/todos', headers: { ...headers, origin: ORIGIN }, remoteAddress })

/** A refresh with a malformed token: counted against the address, and cheap. */
export const refresh = (app: App, remoteAddress: string, headers: Record<string, string> = {}) =>
  app.inject({
    method: 'POST',
    url: '/api/auth/refresh',
    headers,
    remoteAddress,
    payload: { refresh_token: 'x' },
  })

export const statusesOf = (responses: Response[]) => responses.map(({ statusCode }) => statusCode)

/** How many of the requests, one after the other, stay within the limit. */
export async function passing(count: number, request: (i: number) => Promise<Response>): Promise<number> {
  let passed = 0
  for (let i = 0; i < count; i++) passed += (await request(i)).statusCode === 429 ? 0 : 1
  return passed
}
