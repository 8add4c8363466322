import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { fails, PRODUCTION, runServer, start } from '../helper/child.ts'

const WITHOUT_IPV6 = `--import=${pathToFileURL(join(import.meta.dirname, '../helper/without-ipv6.ts'))}`

const hasIPv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === '::1'),
)

const refresh = (url: string, headers: Record<string, string> = {}) =>
  fetch(`${url}/api/auth/refresh`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ refresh_token: 'x' }),
  }).then(({ status }) => status)

/** The addresses of this machine at which a port answers. */
async function answering(port: string): Promise<string[]> {
  const found: string[] = []
  for (const host of ['127.0.0.1', '[::1]']) {
    const ok = await fetch(`http://${host}:${port}/health`).then(
      (response) => response.ok,
      () => false,
    )
    if (ok) found.push(host)
  }
  return found
}

t.test('without HOST', async (t) => {
  await t.test('it listens on IPv6 and IPv4', { skip: !hasIPv6 && 'needs IPv6' }, async (t) => {
    const server = await start(t, { HOST: '' })
    const { hostname, port } = new URL(server.url)
    t.equal(hostname, '[::]', 'it says so')
    t.same(await answering(port), ['127.0.0.1', '[::1]'], 'both answer')
    t.equal((await server.stop()).code, 0, 'it exits with code 0')
  })

  await t.test('it listens on IPv4 where there is no IPv6', async (t) => {
    const server = await start(t, { HOST: '', NODE_OPTIONS: WITHOUT_IPV6 })
    const { port } = new URL(server.url)
    t.notMatch(server.stdout, /listening at http:\/\/\[/, 'it says so')
    t.same(await answering(port), ['127.0.0.1'], 'IPv4 answers')
    t.equal((await server.stop()).code, 0, 'it exits with code 0')
  })
})

t.test('without IPv6, HOST=:: is refused', async (t) => {
  const child = runServer(t, { HOST: '::', NODE_OPTIONS: WITHOUT_IPV6 })
  await fails(t, child, /^taskward: HOST is not an address of this machine\. Leave it empty/)
})

t.test('without HOST, a port that another process has is refused', async (t) => {
  const first = await start(t, { HOST: '' })
  const { port } = new URL(first.url)
  await fails(t, runServer(t, { HOST: '', PORT: port }), new RegExp(`Port ${port} is taken`))
  await first.stop()
})

t.test('a dual-stack listener', { skip: !hasIPv6 && 'needs IPv6' }, async (t) => {
  const env = { HOST: '', AUTH_RATE_LIMIT_MAX: '2', FRONTEND_URL: PRODUCTION.FRONTEND_URL }

  await t.test('trusts and limits IPv4 peers as such', async (t) => {
    const server = await start(t, { ...env, TRUST_PROXY: '127.0.0.1', CLIENT_IP_HEADER: 'x-real-ip' })
    const { port } = new URL(server.url)
    const from = (host: string, address: string) =>
      refresh(`http://${host}:${port}`, { 'x-real-ip': address })
    for (let i = 0; i < 6; i++)
      t.equal(await from('127.0.0.1', `203.0.113.${i}`), 401, 'a trusted peer: each client has its own limit')
    const others = [await from('[::1]', '203.0.113.8'), await from('[::1]', '203.0.113.9')]
    t.same([...others, await from('[::1]', '203.0.113.10')], [401, 401, 429], '::1 is another peer')
    await server.stop()
  })

  await t.test('has the same rule for Host', async (t) => {
    const server = await start(t, env)
    const port = Number(new URL(server.url).port)
    for (const host of ['127.0.0.1', '::1']) {
      for (const [hosts, status] of [
        [[], 400],
        [['Host: a'], 200],
        [['Host: a', 'Host: a'], 400],
      ] as const) {
        const socket = connect(port, host)
        socket.end(['GET /health HTTP/1.1', ...hosts, 'Connection: close', '', ''].join('\r\n'))
        let text = ''
        for await (const chunk of socket) text += chunk
        t.match(text, new RegExp(`^HTTP/1\\.1 ${status} `), `${host} with ${hosts.length} Host`)
      }
    }
    await server.stop()
  })
})
