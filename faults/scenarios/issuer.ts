import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, watch } from '../clients.ts'
import { CLOCK } from '../service.ts'
import type { Scenario } from '../tools.ts'

export default {
  name: 'issuer',
  what: 'The issuer hangs when its keys are fetched again (100 requests/s with good keys), and when they come back to it after an idle time; it publishes an empty set at the first fetch',
  goal: 'p99 < 2 × and none failed while it hangs, and after an idle time; with an empty set 503, not 401, and 200 within 10 s of keys',
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
    for (const { child } of [service, idle]) child.kill('SIGWINCH')
    const refreshing = await watch(service.url, calls, { seconds: 5 })
    for (let i = 0; i < 4; i++) {
      for (const { child } of [service, idle]) child.kill('SIGURG')
      await watch(service.url, calls, { seconds: 4 }) // longer than a fetch may take
    }
    const during = await watch(service.url, calls, { seconds: 6 })
    // Its connections to the database are not what is timed, and a token of ours needs no key of the issuer.
    await watch(idle.url, [{ path: '/todos?limit=20', token: await tools.token('user-0') }], { seconds: 2 })
    const back = await watch(idle.url, calls, { seconds: 6 })

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
        `after an idle time of 11 minutes p99 ${back.p99}, at most ${back.max} ms, ${back.failed} failed; ` +
        `empty set: ${first.status}, ${status === 200 ? `200 after ${after} s` : `still ${status} ${after} s after there are keys`}`,
      ok:
        [refreshing, during, back].every(
          ({ failed, p99 }) => failed === 0 && p99 < 2 * Math.max(before.p99, 5),
        ) &&
        back.max < 1000 &&
        first.status === 503 &&
        status === 200,
    }
  },
} satisfies Scenario
