/** Runs once, before the server answers. Creates Better Auth's tables; in production, a deploy does: npx auth migrate */
export async function register() {
  if (process.env.NEXT_RUNTIME !== 'nodejs') return
  const { getMigrations } = await import('better-auth/db/migration')
  const { auth } = await import('@/lib/auth')
  const { runMigrations } = await getMigrations(auth.options)
  await runMigrations()
}
