import t, { type Test } from 'tap'
import { build } from '../helper/app.ts'
import { passing, refresh } from '../helper/limits.ts'

// The network of Railway's proxies, and two of its edge locations.
const TRUST_PROXY = '100.64.0.0/10'
const PEER = '100.64.0.3'
const EDGES = ['152.233.21.10', '152.233.21.77']

const env = { AUTH_RATE_LIMIT_MAX: '3', TRUST_PROXY, CLIENT_IP_HEADER: 'X-Real-IP' }

/** What Railway's edge sends for a client. */
const viaEdge = (client: string, edge = EDGES[0]) => ({
  'x-forwarded-for': `${client}, ${edge}`,
  'x-real-ip': client,
})

t.test(
  'by X-Forwarded-For, as behind proxies that all are in TRUST_PROXY, the edge would be the client',
  async (t) => {
    const app = await build(t, { env: { ...env, CLIENT_IP_HEADER: undefined } })
    const visitors = (i: number) => refresh(app, PEER, viaEdge(`203.0.113.${i}`))
    t.equal(await passing(5, visitors), 3, 'visitors share a limit')
    const rotating = await passing(5, (i) => refresh(app, PEER, viaEdge('203.0.113.9', `152.233.22.${i}`)))
    t.equal(rotating, 5, 'and none is limited whose edge changes')
  },
)

t.test('by CLIENT_IP_HEADER', async (t) => {
  t.test('visitors of one edge have a limit each', async (t) => {
    const app = await build(t, { env })
    for (let i = 0; i < 5; i++) {
      const visit = () => refresh(app, PEER, viaEdge(`203.0.113.${i}`))
      t.equal(await passing(5, visit), 3, `three of five requests of visitor ${i} pass`)
    }
  })

  t.test('a visitor has one limit, through whatever edge and peer', async (t) => {
    const app = await build(t, { env })
    const visit = (i: number) =>
      refresh(app, `100.64.${i}.${i}`, viaEdge('203.0.113.9', EDGES[i % EDGES.length]))
    t.equal(await passing(20, visit), 3, 'three of twenty pass')
  })

  t.test('request.ip is that address, for whoever asks', async (t) => {
    const seen = await addresses(t)
    const { ip, ips } = await seen(viaEdge('203.0.113.9'))
    t.equal(ip, '203.0.113.9', 'ip')
    t.same(ips, [PEER, '203.0.113.9'], 'ips')
  })

  t.test('from an untrusted peer it is not believed', async (t) => {
    const app = await build(t, { env })
    const forged = (i: number) => refresh(app, '203.0.113.1', viaEdge(`198.51.100.${i}`))
    t.equal(await passing(20, forged), 3, 'three of twenty pass')
  })

  t.test(
    'what is not exactly one address counts as the connection, and X-Forwarded-For is not read',
    async (t) => {
      const seen = await addresses(t)
      const values = [
        '',
        ' ',
        'unknown',
        'x'.repeat(999),
        '203.0.113.256',
        '203.0.113',
        '0xcb007101',
        '::g',
        '203.0.113.9, 203.0.113.8',
        '203.0.113.9,',
        '203.0.113.9:80',
        '[2001:db8::1]',
        '203.0.113.9/32',
      ]
      for (const value of values) {
        const { ip } = await seen({ ...viaEdge('203.0.113.9'), 'x-real-ip': value })
        t.equal(ip, PEER, `"${value.slice(0, 40)}"`)
      }
      const { ip } = await seen({ 'x-forwarded-for': '203.0.113.9' })
      t.equal(ip, PEER, 'no such header')

      const app = await build(t, { env })
      const forged = (i: number) => {
        const headers = viaEdge(`198.51.100.${i}`, `152.233.22.${i}`)
        return refresh(app, PEER, { ...headers, 'x-real-ip': `198.51.100.${i}, ${headers['x-real-ip']}` })
      }
      t.equal(await passing(20, forged), 3, 'so that whoever adds to the header gains no further limit')
    },
  )

  t.test('an IPv6 address counts as its /64, and an IPv4 one in IPv6 as itself', async (t) => {
    const app = await build(t, { env })
    const from = (address: string) => refresh(app, PEER, viaEdge(address))
    t.equal(await passing(20, (i) => from(`2001:db8:1:2::${i}`)), 3, 'three of twenty of one network pass')
    t.equal((await from('2001:db8:1:3::1')).statusCode, 401, 'the next network has its own limit')
    const forms = ['203.0.113.7', '::ffff:203.0.113.7', '::FFFF:cb00:7107']
    t.equal(await passing(9, (i) => from(forms[i % 3] as string)), 3, 'three of nine spellings pass')
  })

  t.test('a dual-stack listener sees peers as IPv4 in IPv6', async (t) => {
    const app = await build(t, { env })
    const visit = (i: number) => refresh(app, `::ffff:${PEER}`, viaEdge(`203.0.113.${i}`))
    t.equal(await passing(20, visit), 20, 'a trusted one is trusted')
    const stranger = (i: number) => refresh(app, '::ffff:192.0.2.1', viaEdge(`198.51.100.${i}`))
    t.equal(await passing(20, stranger), 3, 'any other is not')
  })
})

/** Asks what a route sees as the client's address. */
async function addresses(t: Test) {
  const app = await build(t, {
    env,
    routes: (app) => app.get('/address', { schema: { hide: true } }, async ({ ip, ips }) => ({ ip, ips })),
  })
  return async (headers: Record<string, string>) =>
    (await app.inject({ url: '/address', headers, remoteAddress: PEER })).json()
}
