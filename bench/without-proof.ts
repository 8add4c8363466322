// Preloaded by bench/proof.ts. With each SIGWINCH the service changes between what it does and what it did before its
// answers were proved: it set owner, time-out and role, and looked at nothing that came back. Other signals would end it.
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
