import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { call } from './clients.ts'
import { find, freePort, Running, until } from './processes.ts'
import type { Tools } from './tools.ts'

/** haproxy in front of instances, as docs/scaling.md has it: it asks each for /ready. Returns its address. */
export async function openHaproxy(tools: Tools, ports: readonly number[]): Promise<string> {
  const haproxy = find('haproxy')
  const front = await freePort()
  const config = join(tools.folder(), 'haproxy.cfg')
  writeFileSync(
    config,
    `defaults
  mode http
  timeout connect 1s
  timeout check 5s
  timeout client 30s
  timeout server 30s
frontend web
  bind 127.0.0.1:${front}
  default_backend instances
backend instances
  option httpchk GET /ready
  default-server check inter 200ms fall 1 rise 1
${ports.map((port, i) => `  server instance${i} 127.0.0.1:${port}`).join('\n')}
`,
  )
  const proxy = new Running(haproxy, ['-f', config, '-db'])
  tools.teardown(() => proxy.kill())
  const url = `http://127.0.0.1:${front}`
  await until('haproxy answers', async () => (await call(url, { path: '/ready' })).status === 200)
  return url
}
