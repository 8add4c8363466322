// npm run scale: starts what docs/scaling.md speaks of, loads the service on it, and writes the table there.
import { report } from '../faults/report.ts'
import citus from './scenarios/citus.ts'
import failover from './scenarios/failover.ts'
import formerPrimary from './scenarios/former-primary.ts'
import growth from './scenarios/growth.ts'
import instances from './scenarios/instances.ts'
import patroni from './scenarios/patroni.ts'
import poolers from './scenarios/poolers.ts'
import toggles from './scenarios/toggles.ts'

await report('scale', 'docs/scaling.md', [
  growth,
  toggles,
  instances,
  ...poolers,
  failover,
  formerPrimary,
  patroni,
  citus,
])
