// What the server and the browser share. Nothing here knows a token.
import type { components } from './openapi'

export type Task = components['schemas']['Task']
export type NewTask = components['schemas']['NewTask']

export const PRIORITIES = ['low', 'medium', 'high'] as const

export const PAGE_SIZE = 50

/** A page of the list, and the cursor of the next one, if there is more. */
export interface Page {
  tasks: Task[]
  next?: string
}

interface Answer<T> {
  data?: T
  error?: { detail?: string }
  response: Response
}

/** The body of an answer. Throws the sentence that taskward has for every failure. */
export function bodyOf<T>({ data, error }: Answer<T>): T {
  if (data === undefined) throw new Error(error?.detail ?? 'The tasks cannot be reached.')
  return data
}

export function pageOf(answer: Answer<Task[]>): Page {
  const [, next] =
    /[?&]cursor=([^&>]+)[^>]*>; rel="next"/.exec(answer.response.headers.get('link') ?? '') ?? []
  return { tasks: bodyOf(answer), next: next && decodeURIComponent(next) }
}

/** What to tell a person. A fetch that gets no answer throws a TypeError, worded for developers. */
export function sentenceOf(error: unknown): string {
  if (error instanceof TypeError) return 'The tasks cannot be reached. Try again shortly.'
  return error instanceof Error ? error.message : String(error)
}
