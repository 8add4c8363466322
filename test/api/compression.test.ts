import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { LightMyRequestResponse as Response } from 'fastify'
import t, { type Test } from 'tap'
import { type App, build, identity, type Identity } from '../helper/app.ts'
import { serve } from '../helper/http.ts'
import { ORIGIN } from '../helper/limits.ts'

const ACCEPTED = ['gzip', 'gzip, deflate, br, zstd', 'GZIP', 'br;q=1, gzip;q=0.5', 'gzip;q=0.001']
const NOT_ACCEPTED = [undefined, '', 'identity', 'br', 'gzip;q=0', 'gzip;q=0.000', 'gzip;q=0, *', 'x-gzipped']
const STATIC = ['/docs/static/swagger-ui-bundle.js', '/docs/static/swagger-ui.css']

type Method = 'GET' | 'HEAD'
interface Asked {
  url: string
  accept?: string | undefined
  method?: Method
  headers?: Record<string, string>
}

const ask = (app: App, { url, accept, method = 'GET', headers = {} }: Asked) =>
  app.inject({
    method,
    url,
    headers: { ...headers, origin: ORIGIN, ...(accept !== undefined && { 'accept-encoding': accept }) },
  })

/** A user with tasks of some 300 bytes each. */
async function withTasks(app: App, count: number): Promise<Identity> {
  const user = await identity()
  const payload = { title: 'A title, as titles are', description: 'ordinary words, '.repeat(10) }
  for (let i = 0; i < count; i++)
    await app.inject({ method: 'POST', url: '/todos', headers: user.headers, payload })
  return user
}

const hasVary = ({ headers }: Response) => `${headers.vary}`.split(', ').includes('Accept-Encoding')

/** Expects the same answer, compressed or not, whatever the client accepts. */
async function compresses(t: Test, app: App, { url, headers }: Asked): Promise<void> {
  const plain = await ask(app, { url, headers })
  t.equal(plain.statusCode, 200, `${url} answers`)
  for (const accept of NOT_ACCEPTED) {
    const answer = await ask(app, { url, accept, headers })
    t.equal(answer.headers['content-encoding'], undefined, `${url} is not compressed for ${accept}`)
    t.equal(answer.body, plain.body, 'it is the same')
    t.ok(hasVary(answer), 'it says that it could be')
  }
  for (const accept of ACCEPTED) {
    const answer = await ask(app, { url, accept, headers })
    t.equal(answer.headers['content-encoding'], 'gzip', `${url} is compressed for ${accept}`)
    t.equal(gunzipSync(answer.rawPayload).toString(), plain.body, 'it is the same')
    t.ok(hasVary(answer), 'it depends on Accept-Encoding')
    t.match(answer.headers.vary, /\bOrigin\b/, 'and still on Origin')
    t.equal(answer.headers['content-type'], plain.headers['content-type'], 'its type is the same')
    t.ok(answer.rawPayload.length < plain.rawPayload.length / 2, 'it is less than half as long')
    const { 'content-length': length } = answer.headers
    if (length !== undefined)
      t.equal(Number(length), answer.rawPayload.length, 'its length is that of what is sent')

    const head = await ask(app, { url, accept, headers, method: 'HEAD' })
    t.equal(head.body, '', 'HEAD has no body')
    t.equal(head.headers['content-encoding'], 'gzip', 'but the encoding')
    t.equal(head.headers['content-length'], length, 'and the length')
    t.equal(head.headers.vary, answer.headers.vary, 'and what it depends on')
  }
}

t.test('lists from 16 KB on, and exports, are compressed for whoever accepts it', async (t) => {
  const app = await build(t)
  const { headers, id } = await withTasks(app, 100)
  for (const url of ['/todos', `/api/${id}/tasks`, '/me/export']) await compresses(t, app, { url, headers })

  const short = await ask(app, { url: '/todos?limit=20', accept: 'gzip', headers })
  t.equal(short.headers['content-encoding'], undefined, 'a short list is not')
  t.notOk(hasVary(short), 'and depends on nothing')
  t.equal(short.json().length, 20, 'it is all there')
})

t.test('the document and the files of Swagger UI are compressed once', async (t) => {
  const app = await build(t)
  for (const url of STATIC) {
    const { headers } = await ask(app, { url, accept: 'gzip', method: 'HEAD' })
    t.equal(
      headers['content-length'],
      undefined,
      'HEAD of what nobody has asked for yet does not know its length',
    )
  }
  for (const url of ['/openapi.json', '/docs/json', ...STATIC]) {
    await compresses(t, app, { url })
    const answers = await Promise.all([1, 2, 3].map(() => ask(app, { url, accept: 'gzip' })))
    t.equal(new Set(answers.map(({ rawPayload }) => rawPayload.toString('latin1'))).size, 1, 'the same bytes')
  }
  t.equal(
    (await ask(app, { url: '/docs', accept: 'gzip' })).headers['content-encoding'],
    undefined,
    '/docs is short',
  )

  const [url = ''] = STATIC
  const { headers } = await ask(app, { url, accept: 'gzip' })
  const again = await ask(app, { url, accept: 'gzip', headers: { 'if-none-match': String(headers.etag) } })
  t.equal(again.statusCode, 304, 'a file that the client has is 304')
  t.equal(again.headers['content-encoding'], undefined, 'which has no encoding')
  const part = await ask(app, { url, accept: 'gzip', headers: { range: 'bytes=0-99' } })
  t.equal(part.headers['content-encoding'], undefined, 'a part is not compressed')
  t.equal(part.statusCode === 206 ? part.rawPayload.length : 100, 100, 'and is as long as asked for')
  const missing = await ask(app, { url: '/docs/static/nothing.js', accept: 'gzip' })
  t.equal(missing.statusCode, 404, 'what is not there is 404')
  t.equal(missing.json().code, 'not_found', 'in the usual form')
})

t.test('failures are never said to be compressed', async (t) => {
  const app = await build(t)
  const { headers } = await withTasks(app, 1)
  for (const url of ['/todos?limit=x', '/me/export?x=1']) {
    const answer = await ask(app, { url, accept: 'gzip', headers })
    t.equal(answer.headers['content-encoding'], undefined, url)
    t.equal(answer.json().status, 422, 'it is readable')
  }
})

t.test('streams of a route of its own', async (t) => {
  async function* failing(before: number) {
    for (let i = 0; i < before; i++) yield randomBytes(100_000)
    throw new Error('no more')
  }
  const app = await build(t, {
    routes: (app) => {
      const options = { onSend: app.gzip, schema: { hide: true } }
      app.get('/failing', options, async (_request, reply) => reply.send(Readable.from(failing(0))))
      app.get('/breaking', options, async (_request, reply) => reply.send(Readable.from(failing(10))))
      app.get('/encoded', options, async (_request, reply) =>
        reply.header('content-encoding', 'gzip').send(Readable.from([gzipSync('text')])),
      )
    },
  })

  const answer = await ask(app, { url: '/failing', accept: 'gzip' })
  t.equal(
    answer.headers['content-encoding'],
    undefined,
    'the failure of one that was never sent is not compressed',
  )
  t.equal(answer.json().status, 500, 'and readable')
  const encoded = await ask(app, { url: '/encoded', accept: 'gzip' })
  t.equal(
    gunzipSync(encoded.rawPayload).toString(),
    'text',
    'what is compressed already is not compressed again',
  )

  const { url } = await serve(app)
  await t.rejects(
    fetch(`${url}/breaking`, { headers: { 'accept-encoding': 'gzip' } }).then((response) => response.text()),
    'one that breaks off does not look complete',
  )
})

t.test('an export is compressed as it comes', async (t) => {
  let sent = 0
  async function* endless() {
    for (;;) {
      sent += 1
      yield randomBytes(100_000)
    }
  }
  const app = await build(t, {
    routes: (app) =>
      void app.get('/endless', { onSend: app.gzip, schema: { hide: true } }, async (_request, reply) =>
        reply.send(Readable.from(endless())),
      ),
  })
  const { url } = await serve(app)
  const aborted = new AbortController()
  const response = await fetch(`${url}/endless`, {
    headers: { 'accept-encoding': 'gzip' },
    signal: aborted.signal,
  })
  t.equal(response.headers.get('content-encoding'), 'gzip', 'the beginning arrives before the end')
  aborted.abort()
  await sleep(500)
  const then = sent
  await sleep(500)
  t.equal(sent, then, 'when the client has gone, the source ends')
})
