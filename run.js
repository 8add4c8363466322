// Runs a TypeScript file with the variables of .env, if there is one. Plain JavaScript, so that a Node.js too old for
// TypeScript says so instead of printing a stack trace.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import util from 'node:util'

if (!process.features.typescript) {
  fail(
    `Node.js 22.18 or newer is needed, and this is ${process.version}. Install a newer one, or the one that comes with ` +
      'the packages: npm ci, without --ignore-scripts and --omit=dev.',
  )
}

const file = process.argv[2]
if (file) {
  // dev makes .env, and the server reads it again at each restart.
  if (file !== 'src/dev.ts') readEnvFile()
  process.argv.splice(1, 1)
  await import(pathToFileURL(resolve(file)).href)
}

function readEnvFile() {
  let text
  try {
    text = readFileSync('.env', 'utf8') // process.loadEnvFile() reports a file without permission as missing
  } catch ({ code }) {
    if (code !== 'ENOENT') fail(`.env cannot be read (${code}).`)
    return
  }
  for (const [name, value] of Object.entries(util.parseEnv(text))) process.env[name] ??= value
}

function fail(sentence) {
  process.stderr.write(`taskward: ${sentence}\n`)
  process.exit(1)
}
