// npm run faults: breaks what the service stands on, loads it with what nobody should send, and compares what happens
// with what docs/reliability.md promises.
import { report } from './report.ts'
import backendsEnded from './scenarios/backends-ended.ts'
import bigUser from './scenarios/big-user.ts'
import connectionCut from './scenarios/connection-cut.ts'
import databaseFrozen from './scenarios/database-frozen.ts'
import databaseKilled from './scenarios/database-killed.ts'
import databaseSilent from './scenarios/database-silent.ts'
import embeddedKilled from './scenarios/embedded-killed.ts'
import issuer from './scenarios/issuer.ts'
import largeAnswers from './scenarios/large-answers.ts'
import lockedRows from './scenarios/locked-rows.ts'
import log from './scenarios/log.ts'
import overload from './scenarios/overload.ts'
import redis from './scenarios/redis.ts'
import retriedCuts from './scenarios/retried-cuts.ts'
import rollingDeploy from './scenarios/rolling-deploy.ts'
import serviceKilled from './scenarios/service-killed.ts'
import shutdownHeld from './scenarios/shutdown-held.ts'
import shutdownUnderLoad from './scenarios/shutdown-under-load.ts'
import slowClients from './scenarios/slow-clients.ts'
import soak from './scenarios/soak.ts'
import unreadAnswers from './scenarios/unread-answers.ts'

await report('faults', 'docs/reliability.md', [
  databaseKilled,
  backendsEnded,
  connectionCut,
  retriedCuts,
  databaseFrozen,
  databaseSilent,
  serviceKilled,
  embeddedKilled,
  shutdownUnderLoad,
  shutdownHeld,
  rollingDeploy,
  slowClients,
  unreadAnswers,
  largeAnswers,
  lockedRows,
  bigUser,
  redis,
  issuer,
  log,
  overload,
  soak,
])
