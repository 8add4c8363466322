import { chmodSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { lockDirectory } from '../../src/database/data-directory.ts'
import { DataDirectoryError } from '../../src/database/index.ts'
import { emptyFolder, ROOT, run } from '../helper/child.ts'

const MODULE = pathToFileURL(join(ROOT, 'src/database/data-directory.ts'))
const HOLD = `
  const { lockDirectory } = await import('${MODULE}')
  globalThis.unlock = await lockDirectory(process.argv[1]).catch(({ message }) => {
    console.log(message)
    process.exit(1)
  })
  console.log('locked')
  setInterval(() => {}, 1000)`

/** A process that locks a directory, or says why it cannot. */
const hold = (t: Test, directory: string) => run(t, ['--input-type=module', '-e', HOLD, directory])

t.test('a lock ends with its process, whoever has its number by then', async (t) => {
  const directory = emptyFolder(t)
  const threads = readdirSync('/proc/self/task', { encoding: 'utf8' }).filter((id) => +id !== process.pid)
  const living = run(t, ['-e', 'setInterval(() => {}, 1000)'])
  for (const left of ['1', '-1', threads.at(-1), String(living.process.pid), String(process.pid), '', 'x']) {
    const holder = hold(t, directory)
    await holder.printed(/^locked$/)
    await holder.stop('SIGKILL')
    writeFileSync(join(directory, 'holder.pid'), left ?? '')
    const unlock = await lockDirectory(directory)
    unlock()
    t.pass(`${left} in holder.pid`)
  }
})

t.test('one holder at a time', async (t) => {
  const directory = emptyFolder(t)
  const other = emptyFolder(t)
  const holder = hold(t, directory)
  await holder.printed(/^locked$/)
  const unlock = await lockDirectory(other)
  const refused = (place: string, message: RegExp) =>
    t.rejects(lockDirectory(place), { name: 'DataDirectoryError', message })
  await Promise.all([
    refused(directory, new RegExp(`^Process ${holder.process.pid} uses the database in ${directory}: `)),
    refused(other, new RegExp(`^Process ${process.pid} uses `)),
  ])
  rmSync(join(directory, 'holder.pid'))
  await refused(directory, /^Another process uses the database in /)

  const waiting = lockDirectory(other)
  unlock()
  ;(await waiting)()
})

t.test('of several at once one gets it', async (t) => {
  const directory = join(emptyFolder(t), 'new')
  const holders = Array.from({ length: 4 }, () => hold(t, directory))
  const outcomes = await Promise.all(
    holders.map((holder) => holder.printed(/^(locked|Process \d+ uses the database)/)),
  )
  t.equal(outcomes.filter(([, outcome]) => outcome === 'locked').length, 1, 'one')
})

t.test('a path', async (t) => {
  const names = ['a b', 'für Ömer 漢字', 'x'.repeat(200), '%20', "quote's", 'new/'.repeat(20)]
  await Promise.all(
    names.map(async (name) => {
      const directory = join(emptyFolder(t), name)
      const unlock = await lockDirectory(directory)
      const link = join(emptyFolder(t), 'link')
      symlinkSync(directory, link)
      await t.rejects(lockDirectory(link), DataDirectoryError, `${name}: another way to it has the same lock`)
      unlock()
    }),
  )
  const long = join(emptyFolder(t), ...Array.from({ length: 6 }, () => 'x'.repeat(200)))
  await t.rejects(lockDirectory(long), /is too long/, 'one that is too long')
})

t.test('the folder is for its owner alone', async (t) => {
  const modeOf = async (directory: string) => {
    const unlock = await lockDirectory(directory)
    unlock()
    return (statSync(directory).mode & 0o777).toString(8)
  }
  const parent = emptyFolder(t)
  chmodSync(parent, 0o755)
  t.equal(await modeOf(join(parent, 'new')), '700', 'a new one')
  mkdirSync(join(parent, 'empty'), { mode: 0o755 })
  t.equal(await modeOf(join(parent, 'empty')), '700', 'an empty one')
  mkdirSync(join(parent, 'earlier'), { mode: 0o755 })
  writeFileSync(join(parent, 'earlier', 'PG_VERSION'), '18\n')
  t.equal(await modeOf(join(parent, 'earlier')), '700', 'one of an earlier version')
  t.equal(await modeOf(parent), '755', 'not one with other things in it')
})
