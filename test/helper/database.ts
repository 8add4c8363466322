import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import tap, { type Test } from 'tap'
import { connect, type Database, type DatabaseOptions } from '../../src/database/index.ts'
import { copyTemplate, createDatabase, dropDatabase } from './template.ts'

let opened: Promise<Database> | undefined

/** The database of this test file, with its tables: the embedded one, or one on the server of TEST_DATABASE_URL. */
export function database(): Promise<Database> {
  opened ??= openDatabase(tap)
  return opened
}

/** Opens another database, with its tables, that is closed when the test ends. */
export async function openDatabase(t: Test, options: Omit<DatabaseOptions, 'url'> = {}): Promise<Database> {
  const db = await connect({ url: await migratedUrl(), ...options })
  t.teardown(() => db.close())
  return db
}

/** The address of a new, empty database, which is dropped when the file is done. */
export const databaseUrl = (): Promise<string> => newDatabase('empty')

/** The address of a new database that has the tables, which is dropped when the file is done. */
export const migratedUrl = (): Promise<string> => newDatabase('migrated')

/** The address of a new embedded database that has the tables, even if the other tests use PostgreSQL. */
export async function embeddedUrl(kind: 'empty' | 'migrated' = 'migrated'): Promise<string> {
  const directory = await copyTemplate(kind)
  tap.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  return `pglite:${directory}`
}

async function newDatabase(kind: 'empty' | 'migrated'): Promise<string> {
  const server = process.env.TEST_DATABASE_URL
  if (!server) return embeddedUrl(kind)
  const name = `taskward_test_${randomUUID().replaceAll('-', '')}`
  const url = await createDatabase(server, name, kind)
  tap.teardown(() => dropDatabase(server, name))
  return url
}
