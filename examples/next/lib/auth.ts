import 'server-only'
import { DatabaseSync } from 'node:sqlite'
import { betterAuth } from 'better-auth'
import { jwt } from 'better-auth/plugins'

export const auth = betterAuth({
  baseURL: process.env.BETTER_AUTH_URL,
  secret: process.env.BETTER_AUTH_SECRET,
  // So that nothing needs to be installed. In production: new Pool({ connectionString: process.env.DATABASE_URL })
  database: new DatabaseSync(process.env.AUTH_DATABASE ?? 'auth.sqlite'),
  advanced: { database: { validateSchema: false } }, // instrumentation.ts creates the tables, after this has loaded
  emailAndPassword: { enabled: true },
  plugins: [jwt()], // signs the tokens for taskward, and publishes the keys at /api/auth/jwks
})
