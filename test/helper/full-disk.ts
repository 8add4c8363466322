// Loaded into a server: with each SIGWINCH its disk has no room left, has room again, and at last has none although it
// was said to have.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const { statfsSync, writeSync } = fs
const stages = [
  () => Object.assign(fs, { statfsSync: () => ({ bavail: 0, bsize: 4096 }) }),
  () => Object.assign(fs, { statfsSync }),
  () =>
    Object.assign(fs, {
      writeSync(fd: number, ...args: [never]) {
        if (fd > 2) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
        return writeSync(fd, ...args)
      },
    }),
]

process.on('SIGWINCH', () => {
  stages.shift()?.()
  syncBuiltinESMExports()
})
