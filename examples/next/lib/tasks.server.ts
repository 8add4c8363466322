// lib/tasks.server.ts: taskward for Server Components and route handlers
import 'server-only'
import { headers } from 'next/headers'
import createClient from 'openapi-fetch'
import { auth } from './auth'
import type { paths } from './openapi'

/**
 * A client for the user of this request, who must be signed in. Call it in each request: a token kept in a module
 * would be shared by all users of the process.
 */
export async function requestTasks() {
  const { token } = await auth.api.getToken({ headers: await headers() })
  return createClient<paths>({
    baseUrl: process.env.NEXT_PUBLIC_TASKS_URL,
    headers: { authorization: `Bearer ${token}` },
    cache: 'no-store', // nor may Next.js keep an answer for the next user
  })
}
