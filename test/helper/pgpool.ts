import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { freePort } from './http.ts'
import { isOpen } from './pgbouncer.ts'

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }

/** `4.3.5`, or undefined where pgpool-II is not installed. */
export function pgPoolVersion(): string | undefined {
  const { stdout, stderr } = spawnSync('pgpool', ['--version'], { env, encoding: 'utf8' })
  return /pgpool-II version (\S+)/.exec(`${stdout}${stderr}`)?.[1]
}

/**
 * Starts pgpool-II in front of a server that trusts its logins. It ends with the test.
 * @returns the address of the same database through it
 */
export async function startPgPool(t: Pick<Test, 'teardown'>, address: string): Promise<string> {
  const url = new URL(address)
  const [port, pcpPort] = [await freePort(t), await freePort(t)]
  const folder = mkdtempSync(join(tmpdir(), 'taskward-pgpool-'))
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const config = file(
    'pgpool.conf',
    `backend_clustering_mode = 'raw'
listen_addresses = '127.0.0.1'
port = ${port}
pcp_port = ${pcpPort}
socket_dir = '${folder}'
pcp_socket_dir = '${folder}'
backend_hostname0 = '${url.hostname}'
backend_port0 = ${url.port || 5432}
num_init_children = 8
max_pool = 1
pid_file_name = '${folder}/pgpool.pid'
logdir = '${folder}'
`,
  )
  const files = ['-f', config, '-F', file('pcp.conf', ''), '-a', file('pool_hba.conf', '')]
  const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
  if (nobody.uid) chownSync(folder, nobody.uid, nobody.gid)
  const pool = spawn('pgpool', ['-n', ...files], { env, cwd: folder, stdio: 'ignore', ...nobody })
  t.teardown(async () => {
    pool.kill('SIGINT')
    if (pool.exitCode === null && pool.signalCode === null) await once(pool, 'exit')
    rmSync(folder, { recursive: true })
  })
  for (let attempt = 0; !(await isOpen(port)); attempt++) {
    if (attempt === 500) throw new Error('pgpool-II does not start')
    await sleep(20)
  }
  url.host = `127.0.0.1:${port}`
  return url.href
}
