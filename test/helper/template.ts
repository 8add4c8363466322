// A new embedded database costs six seconds of CPU time and over a gigabyte of memory; a copy costs almost nothing. So
// the first test file that needs one creates it, and all others copy it.
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import pg from 'pg'
import { connect } from '../../src/database/index.ts'
import { migrate } from '../../src/migrations/index.ts'
import { createDistributed, dropDistributed } from '../../scale/citus.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const FOLDER = join(ROOT, '.tap', 'databases')
const HOUR = 3_600_000

const hashOf = (...files: string[]) => {
  const hash = createHash('sha256')
  for (const file of files) hash.update(readFileSync(file))
  return hash.digest('hex').slice(0, 16)
}
const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .toSorted()
  .map((name) => join(ROOT, 'src', name))
  .filter((path) => statSync(path).isFile())

const VERSION = hashOf(join(ROOT, 'package-lock.json'))
/** Identifies the state of src/, where the migrations are. */
const STATE = hashOf(join(ROOT, 'package-lock.json'), ...sources)
const TEMPLATES = { empty: join(FOLDER, `empty-${VERSION}`), migrated: join(FOLDER, `migrated-${STATE}`) }
type Kind = keyof typeof TEMPLATES

/** Creates a new directory for PGlite. */
export async function copyTemplate(kind: Kind): Promise<string> {
  mkdirSync(FOLDER, { recursive: true })
  if (!existsSync(TEMPLATES[kind])) await makeTemplate(kind)
  const copy = mkdtempSync(join(FOLDER, 'copy-'))
  cpSync(TEMPLATES[kind], copy, { recursive: true })
  return copy
}

async function makeTemplate(kind: Kind): Promise<void> {
  const making = kind === 'empty' ? mkdtempSync(join(FOLDER, 'making-')) : await copyTemplate('empty')
  if (kind === 'empty') await makeEmpty(making)
  else await migrateAt(`pglite:${making}`)
  try {
    renameSync(making, TEMPLATES[kind])
  } catch {
    rmSync(making, { recursive: true }) // another process was faster
  }
}

/** Without the databases that others are made of, two thirds of the files, and with buffers for as little as tests write. */
async function makeEmpty(dataDir: string): Promise<void> {
  const db = await PGlite.create({ dataDir })
  await db.exec(`alter system set shared_buffers = '16MB'`)
  await db.exec(`update pg_database set datistemplate = false`)
  await db.exec('drop database template0')
  await db.exec('drop database template1')
  await db.exec('checkpoint')
  await db.close()
}

async function migrateAt(url: string): Promise<void> {
  const db = await connect({ url })
  await migrate(db)
  await db.close()
}

/** Removes what is left of earlier states and of runs that were killed. */
export function removeLeftovers(): void {
  if (!existsSync(FOLDER)) return
  for (const name of readdirSync(FOLDER)) {
    const path = join(FOLDER, name)
    if (!Object.values(TEMPLATES).includes(path) && Date.now() - statSync(path).mtimeMs > HOUR)
      rmSync(path, { recursive: true })
  }
}

const TEMPLATE = `taskward_template_${STATE}`

/** Addresses of the servers of a Citus cluster, the coordinator's first, where the tests are to run on one. */
export const CITUS = process.env.TEST_CITUS ? process.env.TEST_CITUS.split(',') : undefined

/** Creates a database on a server; returns its address. */
export async function createDatabase(server: string, name: string, kind: Kind) {
  if (CITUS) {
    await createDistributed(CITUS, name)
    if (kind === 'migrated') await migrateAt(addressOf(server, name))
    return addressOf(server, name)
  }
  await onServer(server, async (client) => {
    if (kind === 'migrated') await makeServerTemplate(client, server)
    await client.query(`create database ${name}${kind === 'migrated' ? ` template ${TEMPLATE}` : ''}`)
  })
  return addressOf(server, name)
}

async function makeServerTemplate(client: pg.Client, server: string): Promise<void> {
  const { rowCount } = await client.query('select from pg_database where datname = $1', [TEMPLATE])
  if (rowCount) return
  const making = `${TEMPLATE}_making`
  await client.query(`drop database if exists ${making} with (force)`)
  await client.query(`create database ${making}`)
  await migrateAt(addressOf(server, making))
  await client.query(`alter database ${making} rename to ${TEMPLATE}`)
}

export async function dropDatabase(server: string, name = TEMPLATE): Promise<void> {
  if (CITUS) return dropDistributed(CITUS, name)
  await onServer(server, (client) => client.query(`drop database if exists ${name} with (force)`))
}

function addressOf(server: string, name: string): string {
  const url = new URL(server)
  url.pathname = name
  return url.href
}

/** Under a lock, because a template can be copied only while nobody uses it. */
async function onServer(server: string, use: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    await client.query("select pg_advisory_lock(hashtext('taskward tests'))")
    await use(client)
  } finally {
    await client.end()
  }
}
