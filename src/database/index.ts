// Runs proved statements on PostgreSQL, or on the PostgreSQL embedded in this process.
//
//   Database.run ─ multiplexer (which connection) ─ batch (one transaction, written at once) ─ pg ─ PostgreSQL | embedded

export { Breaker } from './breaker.ts'
export { connect, type Database, type DatabaseOptions } from './connect.ts'
export {
  DataDirectoryError,
  DirectoryInUseError,
  ForeignAnswerError,
  isPassingFault,
  OutcomeUnknownError,
  sqlStateOf,
  StorageFullError,
} from './faults.ts'
