// Before the tests (.taprc): creates the database that they copy.
import { rmSync } from 'node:fs'
import { copyTemplate, createDatabase, dropDatabase, removeLeftovers } from './template.ts'

removeLeftovers()
const server = process.env.TEST_DATABASE_URL
if (server) {
  const name = `taskward_test_${process.pid}`
  await createDatabase(server, name, 'migrated')
  await dropDatabase(server, name)
} else {
  rmSync(await copyTemplate('migrated'), { recursive: true })
}
