// Loaded with --import: writes the packages for operators to standard error as they are loaded. Those of HIDDEN are not
// found, as where they are not installed.
import { writeSync } from 'node:fs'
import { registerHooks } from 'node:module'

const { HIDDEN } = process.env

registerHooks({
  resolve(specifier, context, next) {
    if (HIDDEN && specifier.startsWith(HIDDEN))
      throw Object.assign(new Error(`Cannot find package '${specifier}'`), { code: 'ERR_MODULE_NOT_FOUND' })
    if (/^(@opentelemetry\/|prom-client$)/.test(specifier)) writeSync(2, `loaded ${specifier}\n`)
    return next(specifier, context)
  },
})
