import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, watch } from '../clients.ts'
import { CLOCK } from '../service.ts'
import type { Scenario } from '../tools.ts'

export default {
  name: 'issuer',
  what: 'The issuer hangs when its keys are fetched again (100 requests/s with good keys), and when they come back to it after an idle time; it publishes an empty set at the first fetch',
  goal: 'p99 < 2 × and none failed while it hangs; after an idle time none failed, and one wait of 3 s; with an empty set 503, not 401, and 200 within 10 s of keys',
  async run(tools) {
    const { url } = await tools.database()
    const keys = await (await fetch(tools.issuer.url)).text()
    let answer: RequestListener = (_request, response) => response.end(keys)
    const server = createServer((request, response) => answer(request, response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    tools.teardown(() => {
      server.closeAllConnections()
      server.close()
    })
    const env = {
      DATABASE_URL: url,
      JWKS_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`,
      BETTER_AUTH_URL: tools.issuer.url,
    }
    const service = await tools.service(env, { args: CLOCK })
    const tokens = await Promise.all(
      Array.from({ length: 10 }, (_, i) => tools.issuer.sign('EdDSA', `user-${i}`)),
    )
    const calls = tokens.map((token) => ({ path: '/todos?limit=20', token }))
    await watch(service.url, calls, { seconds: 3 })
    const before = await watch(service.url, calls, { seconds: 5 })
    const idle = await tools.service(env, { args: CLOCK })
    await watch(idle.url, calls, { seconds: 1 })
    answer = () => {} // accepted, never answered
    service.child.kill('SIGWINCH')
    const refreshing = await watch(service.url, calls, { seconds: 5 })
    for (let i = 0; i < 4; i++) {
      service.child.kill('SIGURG')
      await watch(service.url, calls, { seconds: 3 })
    }
    const during = await watch(service.url, calls, { seconds: 6 })
    idle.child.kill('SIGWINCH')
    for (let i = 0; i < 4; i++) {
      await sleep(50) // or two signals would be one
      idle.child.kill('SIGURG')
    }
    const back = await watch(idle.url, calls, { seconds: 6 })
    const later = await watch(idle.url, calls, { seconds: 6 })

    answer = (_request, response) => response.end('{"keys":[]}')
    const second = await tools.service(env)
    const first = await call(second.url, calls[0] ?? { path: '/todos' })
    answer = (_request, response) => response.end(keys)
    const start = performance.now()
    let status = 0
    while (status !== 200 && performance.now() - start < 10_000) {
      await sleep(250)
      status = (await call(second.url, calls[0] ?? { path: '/todos' })).status
    }
    const after = ((performance.now() - start) / 1000).toFixed(1)
    return {
      figure:
        `hanging: p99 ${before.p99} → ${refreshing.p99} ms, past their ten minutes ${during.p99} ms, ${during.kinds}; ` +
        `after an idle time at most ${back.max} ms, ${back.failed} failed, then p99 ${later.p99} ms; ` +
        `empty set: ${first.status}, ${status === 200 ? `200 after ${after} s` : `still ${status} ${after} s after there are keys`}`,
      ok:
        [refreshing, during, back, later].every(({ failed }) => failed === 0) &&
        [refreshing, during, later].every(({ p99 }) => p99 < 2 * Math.max(before.p99, 5)) &&
        back.max < 3500 &&
        first.status === 503 &&
        status === 200,
    }
  },
} satisfies Scenario
