'use client'

import { useActionState, useEffect, useRef, useState, useTransition } from 'react'
import { Brand } from '@/components/brand'
import { bodyOf, type Page, PAGE_SIZE, pageOf, sentenceOf, type Task } from '@/lib/tasks'
import { authClient, forgetToken, tasks } from '@/lib/tasks.client'

interface Props {
  user: { id: string; name: string }
  /** What the server has read. */
  first: Page
  firstFailure: string
}

export function TaskList({ user, first, firstFailure }: Props) {
  const [page, setPage] = useState(first)
  const [failure, setFailure] = useState(firstFailure)
  /** Said to people who cannot see the list change. */
  const [news, setNews] = useState('')
  const heading = useRef<HTMLHeadingElement>(null)
  const field = useRef<HTMLInputElement>(null)
  // The user is in each path: should the session be another user's by now, taskward answers 403 and does nothing.
  const path = { user_id: user.id }

  // Another tab may have signed out, or in as somebody else: Better Auth tells this one.
  const session = authClient.useSession()
  const left = !session.isPending && !session.error && session.data?.user.id !== user.id
  useEffect(() => {
    if (left) leave()
  }, [left])

  /** What an action returns, or undefined if it fails; then the page says why. */
  async function attempt<T>(action: () => Promise<T>): Promise<T | undefined> {
    setFailure('')
    try {
      return await action()
    } catch (error) {
      setFailure(sentenceOf(error))
    }
  }

  const [draft, add, adding] = useActionState(async (_: string, form: FormData) => {
    const title = String(form.get('title'))
    const task = await attempt(async () =>
      bodyOf(await tasks.POST('/api/{user_id}/tasks', { params: { path }, body: { title } })),
    )
    if (!task) return title // stays in the field
    setPage(({ tasks, next }) => ({ tasks: [task, ...tasks], next }))
    setNews(`Added: ${task.title}`)
    field.current?.focus() // for the next one
    return ''
  }, '')

  async function toggle({ id, completed }: Task) {
    const task = await attempt(async () =>
      bodyOf(
        await tasks.PATCH('/api/{user_id}/tasks/{id}/toggle', {
          params: { path: { ...path, id } },
          body: { completed: !completed }, // rather than flip: a retry is harmless
        }),
      ),
    )
    if (!task) return
    setPage(({ tasks, next }) => ({ tasks: tasks.map((other) => (other.id === id ? task : other)), next }))
    setNews(`${task.completed ? 'Done' : 'Not done'}: ${task.title}`)
  }

  async function remove({ id, title }: Task) {
    const done = await attempt(async () =>
      bodyOf(await tasks.DELETE('/api/{user_id}/tasks/{id}', { params: { path: { ...path, id } } })),
    )
    if (!done) return
    setPage(({ tasks, next }) => ({ tasks: tasks.filter((task) => task.id !== id), next }))
    setNews(`Deleted: ${title}`)
    heading.current?.focus() // the button that had the focus is gone
  }

  async function showMore() {
    const more = await attempt(async () =>
      pageOf(
        await tasks.GET('/api/{user_id}/tasks', {
          params: { path, query: { limit: PAGE_SIZE, cursor: page.next } },
        }),
      ),
    )
    if (more) setPage(({ tasks }) => ({ tasks: [...tasks, ...more.tasks], next: more.next }))
  }

  async function signOut() {
    const signedOut = await attempt(async () => {
      const { error } = await authClient.signOut()
      if (error) throw new Error(error.message ?? 'Signing out did not work. Try again shortly.')
      return true
    })
    if (signedOut) leave()
  }

  return (
    <>
      <header>
        <Brand />
        <span className="user">{user.name}</span>
        <button onClick={signOut}>Sign out</button>
      </header>
      <main>
        <h1 ref={heading} tabIndex={-1}>
          Your tasks
        </h1>
        <form action={add} className="add card">
          <label htmlFor="title" className="unseen">
            New task
          </label>
          <input
            id="title"
            ref={field}
            name="title"
            placeholder="What needs doing?"
            defaultValue={draft}
            maxLength={255}
            autoComplete="off"
            required
          />
          <button className="primary" disabled={adding}>
            Add
          </button>
        </form>
        <p role="alert" className="failure">
          {failure}
        </p>
        <p aria-live="polite" className="unseen">
          {news}
        </p>
        {page.tasks.length > 0 ? (
          <ul className="tasks card">
            {page.tasks.map((task) => (
              <Item key={task.id} task={task} toggle={toggle} remove={remove} />
            ))}
          </ul>
        ) : (
          !failure && <p className="empty card">Nothing to do. Add your first task above.</p>
        )}
        {page.next && <button onClick={showMore}>Show more</button>}
      </main>
    </>
  )
}

interface ItemProps {
  task: Task
  toggle: (task: Task) => Promise<void>
  remove: (task: Task) => Promise<void>
}

function Item({ task, toggle, remove }: ItemProps) {
  const [busy, start] = useTransition()
  /** So that a double click is one. */
  const once = (action: ItemProps['toggle']) => () => {
    if (!busy) start(() => action(task))
  }
  return (
    <li aria-busy={busy}>
      <label>
        <input type="checkbox" checked={task.completed} onChange={once(toggle)} />
        <span>{task.title}</span>
      </label>
      <button className="delete" aria-label={`Delete ${task.title}`} onClick={once(remove)}>
        <svg viewBox="0 0 20 20" aria-hidden="true">
          <path d="M5 5l10 10M15 5 5 15" />
        </svg>
      </button>
    </li>
  )
}

/** A full load: nothing of this user stays in the memory of this tab. */
function leave() {
  forgetToken()
  location.assign('/')
}
