import type { ColumnType, Generated } from 'kysely'
import { isolate, type Mine as MineOf } from './isolation/index.ts'
import type { User } from './tokens/index.ts'

// Every table, and whose its rows are: what follows from it are the types, the guard, the policies, the grants, and
// what is exported and erased with a user. A new table is declared here and made in a migration.

/** Written by the scope alone: no insert or update can name it. */
type OwnerColumn = ColumnType<string, never, never>
/** Made by the database, and never changed. */
type Id = ColumnType<number, never, never>
/** Comes out as an ISO 8601 string in UTC. */
type Timestamp = ColumnType<string, never, string>

interface TaskTable {
  user_id: OwnerColumn
  id: Id
  title: string
  description: string | null
  completed: Generated<boolean>
  created_at: ColumnType<string, never, never>
  updated_at: Timestamp
}

/** Tables whose rows belong to the user in `user_id`: reached only through a UserScope. */
export interface OwnedTables {
  tasks: TaskTable
}

interface AccountTable {
  id: string
  /** In lower case. */
  email: string
  name: string
  /** bcrypt. */
  password: string
  active: Generated<boolean>
  created_at: ColumnType<string, never, never>
}

interface RefreshTokenTable {
  /** SHA-256 of the token, in hexadecimal: the token itself is not kept. */
  hash: string
  /** All tokens that came from one sign-in. */
  family: string
  account_id: string
  expires_at: Date
  spent_at: Date | null
}

/** Tables that belong to nobody: statements on them are bound to no user. */
export interface SharedTables {
  accounts: AccountTable
  refresh_tokens: RefreshTokenTable
}

export const { claimOwners, isolation, protect, sharedStatement, statement } = isolate<
  User,
  OwnedTables,
  SharedTables
>({
  owner: { user_id: ({ id }) => id },
  settings: 'app',
  roles: { owned: 'taskward_user', shared: 'taskward_service' },
  owned: { tasks: { key: 'id' } },
  shared: { accounts: true, refresh_tokens: true },
})

export type Mine = MineOf<OwnedTables>
