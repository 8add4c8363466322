import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, thousands, Writers } from '../clients.ts'
import { freePort } from '../processes.ts'
import type { Scenario } from '../tools.ts'

const KILLS = 4
const WRITERS = 16

export default {
  name: 'embedded-killed',
  what: `The service on the embedded database killed ${KILLS} times under ${WRITERS} writers, and opened again`,
  goal: '0 lost, 0 doubled, opens each time',
  async run(tools) {
    const port = await freePort()
    const env = { DATABASE_URL: `pglite:${join(tools.folder(), 'data')}` }
    let service = await tools.service(env, { port })
    const tokens = await Promise.all(['ada', 'bob'].map((sub) => tools.token(sub)))
    const writers = new Writers(service.url, tokens, WRITERS)
    let opened = 0
    try {
      for (let i = 0; i < KILLS; i++) {
        await sleep(1500)
        await service.kill()
        service = await tools.service(env, { port })
        opened += 1
      }
      await sleep(500)
    } finally {
      await writers.stop()
    }
    const titles: string[] = []
    for (const token of tokens) {
      let path: string | undefined = '/todos?limit=1000'
      while (path) {
        const { body, headers } = await call(service.url, { path, token })
        titles.push(...(JSON.parse(body) as { title: string }[]).map(({ title }) => title))
        path = /<([^>]+)>/.exec(String(headers.link ?? ''))?.[1]
      }
    }
    const { lost, doubled } = writers.compare(titles)
    return {
      figure:
        `opened ${opened} of ${KILLS}: ${thousands(writers.acknowledged.size)} acknowledged, ` +
        `**${lost} lost, ${doubled} doubled**; ${writers.answers}`,
      ok: lost === 0 && doubled === 0 && opened === KILLS && writers.acknowledged.size > 0,
    }
  },
} satisfies Scenario
