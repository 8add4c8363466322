import { importTests } from '../helper/folder.ts'

await importTests(import.meta.dirname)
