import { once } from 'node:events'
import { STATUS_CODES } from 'node:http'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { Ajv } from 'ajv'
import type { FastifyInstance } from 'fastify'
import type { LightMyRequestResponse as Response } from 'fastify'
import type { Test } from 'tap'
import { Problem } from '../../schemas/problem.ts'

/** An answer, from inject or over a socket. */
export type Answer = Pick<Response, 'statusCode' | 'body'> & { headers: Record<string, unknown> }

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

/** The status of a failure, and its code. */
export function refusal({ statusCode, body }: Pick<Answer, 'statusCode' | 'body'>): [number, string] {
  return [statusCode, JSON.parse(body).code]
}

const LIBRARY_TEXT =
  /FST_|ERR_|HPE_|\bat (\w+ \()?\S+:\d|node_modules|\.[jt]s\b|select|insert into|postgres|pglite|kysely|ajv|fastify|jose/i

const validate = new Ajv().compile({ ...Problem, additionalProperties: false })

/** Checks the rules for every failure, whatever it is and whichever layer it comes from. */
export function expectProblem(t: Test, response: Answer, status: number, code?: string, what = ''): void {
  const { statusCode, headers, body: text } = response
  const name = (sentence: string) => `${what || `${status} ${code ?? ''}`.trim()}: ${sentence}`
  t.equal(statusCode, status, name(`the status is ${status}`))
  t.match(headers['content-type'], /^application\/problem\+json(;|$)/, name('it is a problem in JSON'))
  const body = JSON.parse(text)
  t.ok(validate(body), name(`it fits its schema ${JSON.stringify(validate.errors) ?? ''}`))
  const title = STATUS_CODES[status]
  t.match(
    body,
    {
      title,
      error: title,
      status,
      status_code: status,
      detail: status === 422 ? /^\S+ \S+/ : /^[A-Z]\S* ?.+/,
    },
    name('title, status and a sentence'),
  )
  t.equal(body.request_id, headers['x-request-id'], name('the request id is in the body and a header'))
  t.match(body.code, /^[a-z]+(_[a-z]+)*$/, name('the code is lower case'))
  if (code) t.equal(body.code, code, name(`the code is ${code}`))
  t.equal(Array.isArray(body.errors), status === 422, name('a list of faults only with 422'))
  t.notMatch(text, LIBRARY_TEXT, name('no text of a library'))
}

/** Listens on a free port of this machine, or on a given one, until the test ends. */
export async function listen(t: Pick<Test, 'teardown'>, server: Server, port = 0): Promise<number> {
  const sockets = new Set<import('node:net').Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** A port that nothing listens on. */
export async function freePort(t: Pick<Test, 'teardown'>): Promise<number> {
  const server = createServer()
  const port = await listen(t, server)
  server.close()
  await once(server, 'close')
  return port
}

/** Lets an app listen on a free port. */
export async function serve(app: Pick<FastifyInstance, 'listen'>): Promise<{ url: string; port: number }> {
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { url, port: Number(new URL(url).port) }
}

/** The lines of a request, with a Host. */
export const head = (line: string, ...fields: string[]) => [line, 'Host: a', ...fields, '', ''].join('\r\n')

/** Sends bytes on a new socket and reads until the server closes it. */
export async function exchange(port: number, bytes: string | Buffer): Promise<Answer> {
  const socket = connect(port, '127.0.0.1').setTimeout(60_000)
  socket.on('timeout', () => socket.destroy(new Error('the server keeps the connection')))
  socket.write(bytes)
  let text = ''
  for await (const chunk of socket) text += chunk
  const [lines = '', body = ''] = text.split(/\r\n\r\n(.*)/s)
  const [status = '', ...fields] = lines.split('\r\n')
  const headers = Object.fromEntries(
    fields.map((field) => [field.split(':', 1)[0]?.toLowerCase(), field.replace(/^.*?: */, '')]),
  )
  return { statusCode: Number(status.split(' ')[1]), headers, body }
}
