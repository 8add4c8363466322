// Preloaded by bench/proof.ts. After each SIGWINCH (others would end it) the service does, or does not do again, what it did before its answers
// were proved: it sets owner, time-out and role, and looks at nothing that comes back.
import { type BoundStatement, Settings } from '../src/isolation/settings.ts'

const { inFront } = Settings.prototype
const TIMEOUT = '5s'
const ROLE = 'taskward_user'
let proves = true
process.on('SIGWINCH', () => void (proves = !proves))

Settings.prototype.inFront = function (owner, values): BoundStatement[] {
  const [user] = owner
  if (proves || values.seal || user === undefined) return inFront.call(this, owner, values)
  return [
    {
      name: 'settings_without_proof',
      sql: `select set_config('app.user_id', $1, true), set_config('statement_timeout', $2, true), set_config('role', $3, true)`,
      parameters: [user, TIMEOUT, ROLE],
      expected: user,
    },
  ]
}
