import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** Runs all tests of a folder in this process: to start one, with its database, takes longer than most of them. */
export async function importTests(folder: string): Promise<void> {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.test.ts'))
  for (const file of files.toSorted()) await import(pathToFileURL(join(folder, file)).href)
}
