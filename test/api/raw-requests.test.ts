import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { build, identity } from '../helper/app.ts'
import { exchange, expectProblem, head, serve } from '../helper/http.ts'

t.test('on the wire', async (t) => {
  const app = await build(t)
  const { token } = await identity()
  const { port } = await serve(app)
  const credential = `Authorization: Bearer ${token}`
  const json = 'Content-Type: application/json'
  const chunked = 'Transfer-Encoding: chunked'
  const post = (body: string, ...fields: string[]) =>
    head('POST /todos HTTP/1.1', credential, json, ...fields) + body

  t.test('400 and close', async (t) => {
    for (const [name, request] of Object.entries({
      garbage: 'hello\r\n\r\n',
      'a TLS hello': Buffer.from('160301020001', 'hex'),
      'HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'an unknown method': head('STEAL /health HTTP/1.1'),
      'a space in the path': head('GET /a b HTTP/1.1'),
      'raw bytes in the path': Buffer.from(head('GET /😀 HTTP/1.1')),
      'a folded header': head('GET /health HTTP/1.1', 'X: a\r\n b'),
      'NUL in a header': head('GET /health HTTP/1.1', 'X: a\0b'),
      'space before the colon': head('GET /health HTTP/1.1', 'X : a'),
      'bare LF': 'GET /health HTTP/1.1\nHost: a\n\n',
      'length and chunks': post('0\r\n\r\n', 'Content-Length: 5', chunked),
      'two lengths': post('{"title":"x"}', 'Content-Length: 13', 'Content-Length: 14'),
      'a signed length': post('{"title":"x"}', 'Content-Length: +13'),
      'chunked twice': post('0\r\n\r\n', chunked, chunked),
      'chunked, then not': post('0\r\n\r\n', 'Transfer-Encoding: chunked, identity'),
      'a bad chunk size': post('zz\r\n{}\r\n0\r\n\r\n', chunked),
      'a chunk longer than announced': post('1\r\n{}\r\n0\r\n\r\n', chunked),
    })) {
      await t.test(name, async (t) => expectProblem(t, await exchange(port, request), 400))
    }
  })

  t.test('400 unless there is exactly one Host', async (t) => {
    const none = 'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n'
    expectProblem(t, await exchange(port, none), 400)
    expectProblem(t, await exchange(port, head('GET /health HTTP/1.1', 'Host: b', 'Connection: close')), 400)
  })

  t.test('too large', async (t) => {
    const long = 'a'.repeat(32 * 1024)
    expectProblem(t, await exchange(port, head('GET /health HTTP/1.1', `X: ${long}`)), 431)
    expectProblem(t, await exchange(port, head(`GET /${long} HTTP/1.1`)), 431)
    const many = Array.from({ length: 4000 }, (_, i) => `x-${i}: v`)
    expectProblem(t, await exchange(port, head('GET /health HTTP/1.1', ...many)), 431)
    const few = Array.from({ length: 500 }, () => 'a: b')
    const accepted = await exchange(
      port,
      head('GET /todos HTTP/1.1', ...few, credential, 'Connection: close'),
    )
    t.equal(accepted.statusCode, 200, 'no header is dropped silently')
    expectProblem(
      t,
      await exchange(port, head('POST /todos HTTP/1.1', credential, json, 'Content-Length: 99999')),
      413,
    )
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
    expectProblem(t, await exchange(port, post(chunk.repeat(8), chunked)), 413)
  })

  t.test('a thousand of the longest ids are not too large', async (t) => {
    const ids = Array.from({ length: 1000 }, (_, i) => Number.MAX_SAFE_INTEGER - i)
    for (const [method, comma, change] of [
      ['PATCH', ',', '{"completed":true}'],
      ['DELETE', '%2C', ''],
    ] as const) {
      const line = `${method} /todos?ids=${ids.join(comma)} HTTP/1.1`
      const length = `Content-Length: ${change.length}`
      const request = head(line, credential, json, length, 'Connection: close') + change
      const { statusCode, body } = await exchange(port, request)
      t.equal(statusCode, 200, method)
      t.same(JSON.parse(body), { count: 0, missing: ids.toReversed() }, 'with all of them')
    }
  })

  t.test('too slow', async (t) => {
    const accepted = new Promise<Socket>((resolve) => app.server.once('connection', resolve))
    const answer = exchange(port, 'GET /health HTTP/1.1\r\n')
    const late = Object.assign(new Error('Request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' })
    app.server.emit('clientError', late, await accepted)
    expectProblem(t, await answer, 408, 'request_timeout')
  })

  t.test('a client that keeps its half of the connection open', async (t) => {
    const gone = new Promise((resolve) =>
      app.server.once('connection', (accepted) => accepted.once('close', () => resolve('gone'))),
    )
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).resume()
    t.teardown(() => socket.destroy())
    socket.write('nonsense\r\n\r\n')
    await once(socket, 'end')
    t.equal(await Promise.race([gone, sleep(10_000, 'kept')]), 'gone', 'keeps no socket here')
  })

  t.test('HEAD has no body', async (t) => {
    const { body, headers } = await exchange(port, head('HEAD /nowhere HTTP/1.1', 'Connection: close'))
    t.equal(body, '', 'the body is empty')
    t.ok(Number(headers['content-length']) > 100, 'its length is in a header')
  })

  t.equal(
    (await exchange(port, head('GET /health HTTP/1.1', 'Connection: close'))).statusCode,
    200,
    'the server still answers',
  )
})
