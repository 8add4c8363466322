import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { freePort } from './http.ts'

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }

/** `1.18.0`, or undefined where PgBouncer is not installed. */
export function pgBouncerVersion(program = 'pgbouncer'): string | undefined {
  const { stdout } = spawnSync(program, ['--version'], { env, encoding: 'utf8' })
  return /PgBouncer (\S+)/.exec(stdout ?? '')?.[1]
}

/**
 * Starts PgBouncer in front of a server, in transaction mode with three connections. It ends with the test.
 * @param prepared how many prepared statements it carries on each, from 1.21 on; 0 for none
 * @returns the address of the same database through it
 */
export async function startPgBouncer(
  t: Pick<Test, 'teardown'>,
  address: string,
  { program = 'pgbouncer', prepared = 0 } = {},
): Promise<string> {
  const { hostname, port, username, password } = new URL(address)
  const listen = await freePort(t)
  const folder = mkdtempSync(join(tmpdir(), 'taskward-pgbouncer-'))
  const config = join(folder, 'pgbouncer.ini')
  const users = join(folder, 'users.txt')
  const secret = password && ` password=${decodeURIComponent(password)}`
  writeFileSync(users, `"${decodeURIComponent(username)}" ""\n`)
  writeFileSync(
    config,
    `[databases]
* = host=${hostname} port=${port || 5432} user=${decodeURIComponent(username)}${secret}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listen}
unix_socket_dir =
auth_type = any
auth_file = ${users}
pool_mode = transaction
default_pool_size = 3
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
${prepared > 0 ? `max_prepared_statements = ${prepared}\n` : ''}`,
  )
  // It refuses to run as root, and reads its files as the user that it becomes.
  const asRoot = process.getuid?.() === 0
  if (asRoot) {
    chmodSync(folder, 0o755)
    for (const file of [config, users]) chmodSync(file, 0o644)
  }
  const bouncer = spawn(program, [...(asRoot ? ['-u', 'nobody'] : []), config], { env, stdio: 'ignore' })
  t.teardown(async () => {
    bouncer.kill('SIGTERM')
    if (bouncer.exitCode === null && bouncer.signalCode === null) await once(bouncer, 'exit')
    rmSync(folder, { recursive: true })
  })
  for (let attempt = 0; !(await isOpen(listen)); attempt++) {
    if (attempt === 500) throw new Error('PgBouncer does not start')
    await sleep(20)
  }
  const url = new URL(address)
  url.host = `127.0.0.1:${listen}`
  return url.href
}

/** Whether somebody listens on a port of this machine. */
export function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })
}
