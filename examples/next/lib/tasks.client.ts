// lib/tasks.client.ts: taskward for Client Components
import 'client-only' // this module keeps a token, and on a server all users would share it
import { jwtClient } from 'better-auth/client/plugins'
import { createAuthClient } from 'better-auth/react'
import createClient from 'openapi-fetch'
import type { paths } from './openapi'

export const authClient = createAuthClient({ plugins: [jwtClient()] })
export const tasks = createClient<paths>({ baseUrl: process.env.NEXT_PUBLIC_TASKS_URL })

tasks.use({
  async onRequest({ request }) {
    request.headers.set('authorization', `Bearer ${await accessToken()}`)
    return request
  },
})

let current: { token: string; exp: number } | undefined

// Tokens live 15 minutes: fetch a new one a minute earlier.
async function accessToken(): Promise<string> {
  if (!current || current.exp < Date.now() / 1000 + 60) {
    const { data, error } = await authClient.token()
    if (error) throw new Error('You are not signed in.')
    const { exp } = JSON.parse(atob(data.token.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/')))
    current = { token: data.token, exp }
  }
  return current.token
}

/** Call this on sign-out: the next user must not send this user's token. */
export function forgetToken() {
  current = undefined
}
