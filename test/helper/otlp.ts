import { createServer, type IncomingHttpHeaders } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { listen } from './http.ts'

export interface Span {
  traceId: string
  spanId: string
  /** Empty if it has none. */
  parentId: string
  name: string
  /** 2 for a server's, 3 for a client's. */
  kind: number
  /** 2 for an error. */
  status: number
  /** What is said of the status. */
  message: string
  attributes: Record<string, unknown>
  events: number
  /** Of the process it comes from. */
  resource: Record<string, unknown>
}

type Fields = Map<number, (number | Buffer)[]>

/** A message of Protocol Buffers, without its names: https://protobuf.dev/programming-guides/encoding/ */
function decode(bytes: Buffer): Fields {
  const fields: Fields = new Map()
  let at = 0
  const varint = () => {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++] as number
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
  }
  const take = (length: number) => bytes.subarray(at, (at += length))
  while (at < bytes.length) {
    const key = varint()
    const field = Math.floor(key / 8)
    const wire = key % 8
    const value = wire === 0 ? varint() : take(wire === 1 ? 8 : wire === 5 ? 4 : varint())
    fields.set(field, [...(fields.get(field) ?? []), value])
  }
  return fields
}

const parts = (message: Fields, field: number) =>
  (message.get(field) ?? []).map((part) => decode(part as Buffer))
const text = (message: Fields, field: number) => String(message.get(field)?.[0] ?? '')
const hex = (message: Fields, field: number) =>
  ((message.get(field)?.[0] as Buffer) ?? Buffer.of()).toString('hex')
const number = (message: Fields, field: number) => Number(message.get(field)?.[0] ?? 0)

// The numbers are those of opentelemetry/proto/{common,trace}/v1 in opentelemetry-proto.
function valueOf(value: Fields | undefined): unknown {
  if (!value) return undefined
  if (value.has(1)) return text(value, 1)
  if (value.has(3)) return number(value, 3)
  const [list] = parts(value, 5)
  return list && parts(list, 1).map(valueOf)
}

const attributesOf = (message: Fields, field: number) =>
  Object.fromEntries(parts(message, field).map((pair) => [text(pair, 1), valueOf(parts(pair, 2)[0])]))

function spansOf(body: Buffer): Span[] {
  return parts(decode(body), 1).flatMap((resourceSpans) => {
    const [resource] = parts(resourceSpans, 1)
    const spans = parts(resourceSpans, 2).flatMap((scopeSpans) => parts(scopeSpans, 2))
    return spans.map((span) => {
      const status = parts(span, 15)[0] ?? new Map()
      return {
        traceId: hex(span, 1),
        spanId: hex(span, 2),
        parentId: hex(span, 4),
        name: text(span, 5),
        kind: number(span, 6),
        status: number(status, 3),
        message: text(status, 2),
        attributes: attributesOf(span, 9),
        events: (span.get(11) ?? []).length,
        resource: resource ? attributesOf(resource, 1) : {},
      }
    })
  })
}

/** A collector on this machine, and what it was sent. */
export async function startCollector(t: Test) {
  const spans: Span[] = []
  const collector = {
    url: '',
    spans,
    bodies: [] as Buffer[],
    headers: [] as IncomingHttpHeaders[],
    paths: new Set<string | undefined>(),
    /** What it answers; 0 for nothing at all. */
    status: 200,
    /** Waits until a span with this name has come. */
    async received(name: string): Promise<Span> {
      for (let i = 0; i < 200; i++) {
        const span = spans.find((span) => span.name === name)
        if (span) return span
        await sleep(50)
      }
      throw new Error(`never received: ${name}, but ${spans.map((span) => span.name).join(', ')}`)
    },
  }
  const server = createServer(async (request, response) => {
    const body = await buffer(request)
    collector.headers.push(request.headers)
    collector.paths.add(request.url)
    if (collector.status === 0) return
    if (collector.status === 200) {
      collector.bodies.push(body)
      spans.push(...spansOf(body))
    }
    response.writeHead(collector.status, { 'content-type': 'application/x-protobuf' }).end()
  })
  collector.url = `http://127.0.0.1:${await listen(t, server)}`
  return collector
}
