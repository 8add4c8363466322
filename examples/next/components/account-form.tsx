'use client'

import Link from 'next/link'
import { useActionState } from 'react'
import { Brand } from '@/components/brand'
import { authClient } from '@/lib/tasks.client'

const TEXTS = {
  'sign-in': {
    title: 'Welcome back',
    submit: 'Sign in',
    question: 'No account yet?',
    other: { href: '/sign-up', text: 'Create one' },
  },
  'sign-up': {
    title: 'Create an account',
    submit: 'Sign up',
    question: 'Have an account?',
    other: { href: '/sign-in', text: 'Sign in' },
  },
}

interface State {
  failure?: string
  /** What the fields go back to when the form is reset, as it is after each submission. */
  name?: string
  email?: string
}

async function submit(purpose: keyof typeof TEXTS, form: FormData): Promise<State> {
  const text = (field: string) => String(form.get(field))
  const [name, email, password] = [text('name'), text('email'), text('password')]
  const { error } = await (
    purpose === 'sign-up'
      ? authClient.signUp.email({ name, email, password })
      : authClient.signIn.email({ email, password })
  ).catch(() => ({ error: { message: 'The server cannot be reached. Try again shortly.' } }))
  if (error) return { failure: error.message ?? 'That did not work. Try again shortly.', name, email }

  // A full load rather than router.push(): the memory of this tab starts afresh with each user.
  location.assign('/')
  return { name, email }
}

export function AccountForm({ purpose }: { purpose: keyof typeof TEXTS }) {
  const [state, action, pending] = useActionState((_: State, form: FormData) => submit(purpose, form), {})
  const { title, submit: label, question, other } = TEXTS[purpose]
  return (
    <main className="account card">
      <Brand />
      <h1>{title}</h1>
      <form action={action}>
        {purpose === 'sign-up' && (
          <label>
            Name
            <input name="name" autoComplete="name" defaultValue={state.name} required />
          </label>
        )}
        <label>
          E-mail
          <input name="email" type="email" autoComplete="email" defaultValue={state.email} required />
        </label>
        <label>
          Password
          <input
            name="password"
            type="password"
            autoComplete={purpose === 'sign-up' ? 'new-password' : 'current-password'}
            minLength={8}
            required
          />
        </label>
        <p role="alert" className="failure">
          {state.failure}
        </p>
        <button className="primary" disabled={pending}>
          {label}
        </button>
      </form>
      <p className="other">
        {question} <Link href={other.href}>{other.text}</Link>
      </p>
    </main>
  )
}
