import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Scenario } from '../tools.ts'
import { seconds } from '../writing.ts'

const HOLDS = {
  silent: () => {},
  'slow header': (socket: Socket) => socket.write('GET /todos HTTP/1.1\r\nHost: a\r\n'),
  'slow body': (socket: Socket, token: string) =>
    socket.write(
      `POST /todos HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n` +
        'Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{',
    ),
  unread: (socket: Socket) => {
    socket.pause()
    for (let i = 0; i < 100; i++) socket.write('GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n')
  },
}

export default {
  name: 'shutdown-held',
  what: 'SIGTERM with one connection open: silent, a slow header, a slow body, answers that are not read',
  goal: 'exit code 0 in < 6 s',
  async run(tools) {
    const { url } = await tools.database()
    const token = await tools.token('holder')
    const ends = await Promise.all(
      Object.entries(HOLDS).map(async ([name, hold]) => {
        const service = await tools.service({ DATABASE_URL: url })
        const socket = connect(Number(new URL(service.url).port), '127.0.0.1')
        socket.on('error', () => {})
        tools.teardown(() => socket.destroy())
        hold(socket, token)
        await sleep(500)
        const { code, signal, ms } = await service.terminate()
        return { text: `${name} ${code ?? signal} after ${seconds(ms)}`, ok: code === 0 && ms < 6_000 }
      }),
    )
    return { figure: ends.map(({ text }) => text).join(', '), ok: ends.every(({ ok }) => ok) }
  },
} satisfies Scenario
