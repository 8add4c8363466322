import { randomUUID } from 'node:crypto'
import type { LightMyRequestResponse as Response } from 'fastify'
import type { Refresh, Session } from '../../schemas/account.ts'
import type { App } from './app.ts'
import { database } from './database.ts'
import { bearer } from './http.ts'
import { asRole } from './sql.ts'

export const PASSWORD = 'correct horse battery staple'
export const DAY = 86_400

export const person = () => ({ email: `${randomUUID()}@example.com`, password: PASSWORD, name: 'Ada' })

export const post = (
  app: App,
  action: string,
  payload: object,
  headers: Record<string, string> = {},
  remoteAddress?: string,
) => app.inject({ method: 'POST', url: `/api/auth/${action}`, payload, headers, remoteAddress })

export const refresh = (app: App, refresh_token: string, remoteAddress?: string) =>
  post(app, 'refresh', { refresh_token } satisfies Refresh, {}, remoteAddress)

export const dataOf = (response: Response) => response.json<Session>().data

/** A new account, signed in. */
export async function signUp(app: App, { email, password, name } = person()) {
  const data = dataOf(await post(app, 'signup', { email, password, name }))
  return { ...data, email, password, headers: bearer(data.token) }
}

export async function signIn(app: App, { email, password }: { email: string; password: string }) {
  return dataOf(await post(app, 'signin', { email, password }))
}

/** Raw SQL with the rights of the service. */
export async function rows(sql: string, ...parameters: unknown[]) {
  const found = await asRole(await database(), { role: 'taskward_service' }, sql, ...parameters)
  return found as Record<string, string>[]
}

export const accountsWith = (column: 'id' | 'email', value: string) =>
  rows(`select id from accounts where ${column} = $1`, value)
export const tokensOf = (accountId: string) =>
  rows('select * from refresh_tokens where account_id = $1', accountId)

export async function addTasks(userId: string, count: number, description = ''): Promise<void> {
  const sql =
    "insert into tasks (user_id, title, description) select $1, 'task ' || i, nullif($3, '') from generate_series(1, $2::int) i returning 1"
  await asRole(await database(), { user: userId }, sql, userId, count, description)
}

export const totalOf = async (app: App, headers: Record<string, string>) =>
  (await app.inject({ url: '/todos/stats', headers })).json<{ total: number }>().total
