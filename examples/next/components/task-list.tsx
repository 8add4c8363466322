'use client'

import { useActionState, useEffect, useRef, useState, useTransition } from 'react'
import { Brand } from '@/components/brand'
import {
  bodyOf,
  type NewTask,
  type Page,
  PAGE_SIZE,
  pageOf,
  PRIORITIES,
  sentenceOf,
  type Task,
} from '@/lib/tasks'
import { authClient, forgetToken, tasks } from '@/lib/tasks.client'

const EMPTY: NewTask = { title: '', priority: null, due_at: '', tags: [] }

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
  const [search, setSearch] = useState('')
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

  const [draft, add, adding] = useActionState(async (_: NewTask, form: FormData) => {
    const text = (name: string) => String(form.get(name))
    const body: NewTask = {
      title: text('title'),
      priority: PRIORITIES.find((priority) => priority === form.get('priority')) ?? null,
      due_at: text('due'), // empty is none
      tags: text('tags').split(','), // empty ones are dropped
    }
    const task = await attempt(async () =>
      bodyOf(await tasks.POST('/api/{user_id}/tasks', { params: { path }, body })),
    )
    if (!task) return body // stays in the fields
    // The new task may not be one of those that were searched for.
    if (search) await show('')
    else setPage(({ tasks, next }) => ({ tasks: [task, ...tasks], next }))
    setNews(`Added: ${task.title}`)
    field.current?.focus() // for the next one
    return EMPTY
  }, EMPTY)

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

  const read = (search: string, cursor?: string) =>
    attempt(async () =>
      pageOf(
        await tasks.GET('/api/{user_id}/tasks', {
          params: { path, query: { limit: PAGE_SIZE, cursor, ...(search && { search }) } },
        }),
      ),
    )

  async function showMore() {
    const more = await read(search, page.next)
    if (more) setPage(({ tasks }) => ({ tasks: [...tasks, ...more.tasks], next: more.next }))
  }

  /** Tasks with these words, or all. */
  async function show(words: string) {
    const found = await read(words)
    if (!found) return
    setSearch(words)
    setPage(found)
    setNews(words ? `Found: ${found.tasks.length}${found.next ? ' or more' : ''}` : 'All tasks')
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
            defaultValue={draft.title}
            maxLength={255}
            autoComplete="off"
            required
          />
          <button className="primary" disabled={adding}>
            Add
          </button>
          <div className="more">
            <label>
              Priority
              <select key={draft.priority} name="priority" defaultValue={draft.priority ?? ''}>
                <option value="">none</option>
                {PRIORITIES.map((priority) => (
                  <option key={priority}>{priority}</option>
                ))}
              </select>
            </label>
            <label>
              Due
              <input
                type="date"
                name="due"
                min="1970-01-01"
                max="9999-12-31"
                defaultValue={draft.due_at ?? ''}
              />
            </label>
            <label>
              Tags
              <input
                name="tags"
                placeholder="home, urgent"
                defaultValue={draft.tags?.join() ?? ''}
                autoComplete="off"
              />
            </label>
          </div>
        </form>
        <search>
          <form action={(form) => show(String(form.get('search')).trim())} className="find">
            <label htmlFor="search" className="unseen">
              Search
            </label>
            <input
              key={search}
              id="search"
              type="search"
              name="search"
              defaultValue={search}
              maxLength={200}
              placeholder="Search"
            />
            <button>Search</button>
          </form>
        </search>
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
          !failure && (
            <p className="empty card">
              {search ? `No task has “${search}” in it.` : 'Nothing to do. Add your first task above.'}
            </p>
          )
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
      <Details task={task} />
      <button className="delete" aria-label={`Delete ${task.title}`} onClick={once(remove)}>
        <svg viewBox="0 0 20 20" aria-hidden="true">
          <path d="M5 5l10 10M15 5 5 15" />
        </svg>
      </button>
    </li>
  )
}

function Details({ task: { priority, due_at, tags, completed } }: { task: Task }) {
  if (!priority && !due_at && tags.length === 0) return null
  // A day was sent, which is its midnight in UTC: so it is read, whatever the zone of this browser.
  // Late is when the day is over. taskward's `overdue` begins with the day, as its midnight is the due time.
  const day = due_at?.slice(0, 10)
  const isLate = day !== undefined && !completed && day < new Date().toISOString().slice(0, 10)
  return (
    <p className="details">
      {priority && <span className={`priority ${priority}`}>{priority}</span>}
      {day && (
        <time dateTime={day} className={isLate ? 'late' : undefined} suppressHydrationWarning>
          {isLate ? 'overdue' : 'due'} {day}
        </time>
      )}
      {tags.map((tag) => (
        <span key={tag} className="tag">
          {tag}
        </span>
      ))}
    </p>
  )
}

/** A full load: nothing of this user stays in the memory of this tab. */
function leave() {
  forgetToken()
  location.assign('/')
}
