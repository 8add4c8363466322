// Runs proved statements on PostgreSQL, or on the PostgreSQL embedded in this process.
//
//   Database.run ─ multiplexer (which connection) ─ batch (one transaction, written at once) ─ pg ─ PostgreSQL | embedded
//                    ├─ kinds (of what is under way)
//                    └─ connections (to the host of now) ─ primary (which one that is)

export { Breaker } from './breaker.ts'
export { connect, type Database, type DatabaseOptions, type DatabaseState } from './connect.ts'
export {
  DataDirectoryError,
  DirectoryInUseError,
  ForeignAnswerError,
  isPassingFault,
  OutcomeUnknownError,
  OverloadedError,
  refusesWrites,
  sqlStateOf,
  StorageFullError,
} from './faults.ts'
export { type Hosts, parseHosts } from './hosts.ts'
export { Multiplexer } from './multiplexer.ts'
export { Primary } from './primary.ts'
