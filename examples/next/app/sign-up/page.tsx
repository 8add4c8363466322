import { headers } from 'next/headers'
import { redirect } from 'next/navigation'
import { AccountForm } from '@/components/account-form'
import { auth } from '@/lib/auth'

export default async function SignUp() {
  if (await auth.api.getSession({ headers: await headers() })) redirect('/')
  return <AccountForm purpose="sign-up" />
}
