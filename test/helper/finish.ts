// After the tests (.taprc): drops the database that they copied.
import { dropDatabase } from './template.ts'

if (process.env.TEST_DATABASE_URL) await dropDatabase(process.env.TEST_DATABASE_URL)
