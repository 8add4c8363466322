// Traces, by OpenTelemetry: a span for each request, and one for each batch of statements in it. Loaded only where
// OTEL_EXPORTER_OTLP_ENDPOINT is set; the SDK reads it, and its other variables, itself.
//
// Nothing of a user is in a span: no path but the route's pattern, no value of a statement, no text of an error.

import { setTimeout as sleep } from 'node:timers/promises'
import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources'
import { BatchSpanProcessor, NodeTracerProvider, type SpanExporter } from '@opentelemetry/sdk-trace-node'
import type { FastifyRequest } from 'fastify'
import packageJson from '../package.json' with { type: 'json' }
import type { Runner, ScopedStatement } from './isolation/index.ts'
import { routePattern } from './route-pattern.ts'

export interface Tracing {
  /** Starts a request's span; the caller's trace goes on where there is a `traceparent` (W3C Trace Context). */
  start(request: FastifyRequest): RequestTrace
  /** The runner, with a span for each batch that runs for a request. */
  traced(runner: Runner): Runner
  /** Sends what is left, within a second. */
  close(): Promise<void>
}

/** The span of one request. */
export interface RequestTrace {
  /** For the log. */
  readonly ids: { trace_id: string; span_id: string }
  /** What is called from here on, and later because of that, belongs to the request. */
  run(call: () => void): void
  /**
   * @param status undefined if the client went away before it was answered
   * @param code of the problem, if it failed
   */
  end(status?: number, code?: string): void
}

const CLOSE_TIMEOUT_MS = 1_000

/** @param onChange called when spans cannot be sent, with the reason, and when they can again, with none */
export function startTracing(onChange: (fault: Error | undefined) => void): Tracing {
  const own = resourceFromAttributes({
    'service.name': packageJson.name,
    'service.version': packageJson.version,
  })
  const provider = new NodeTracerProvider({
    resource: defaultResource()
      .merge(own)
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(reporting(new OTLPTraceExporter(), onChange))],
  })
  provider.register()
  const tracer = provider.getTracer(packageJson.name, packageJson.version)

  function start(request: FastifyRequest): RequestTrace {
    const { method, headers } = request
    const route = routePattern(request)
    const parent = propagation.extract(ROOT_CONTEXT, headers)
    const attributes = { 'http.request.method': method, 'http.route': route }
    const span = tracer.startSpan(
      route ? `${method} ${route}` : method,
      { kind: SpanKind.SERVER, attributes },
      parent,
    )
    const within = trace.setSpan(parent, span)
    const { traceId, spanId } = span.spanContext()
    return {
      ids: { trace_id: traceId, span_id: spanId },
      run: (call) => context.with(within, call),
      end(status, code) {
        if (!span.isRecording()) return
        if (status !== undefined) span.setAttribute('http.response.status_code', status)
        if (code !== undefined) span.setAttribute('taskward.code', code)
        // Of a server's failures, those of the client are no errors (semantic conventions for HTTP).
        if (status !== undefined && status >= 500) {
          span.setAttribute('error.type', code ?? String(status))
          span.setStatus({ code: SpanStatusCode.ERROR })
        }
        span.end()
      },
    }
  }

  const traced = (runner: Runner): Runner => ({
    async run(statements, since) {
      if (!trace.getActiveSpan()?.isRecording()) return runner.run(statements, since)
      const summary = statements.map(summaryOf).join('; ')
      const attributes = {
        'db.system.name': 'postgresql',
        'db.query.summary': summary,
        'db.operation.batch.size': statements.length,
        'taskward.statements': statements.map(({ name }) => name),
      }
      const span = tracer.startSpan(summary, { kind: SpanKind.CLIENT, attributes })
      try {
        return await runner.run(statements, since)
      } catch (error) {
        const { code, name } = error as NodeJS.ErrnoException // of PostgreSQL's errors the SQLSTATE
        span.setAttribute('error.type', code ?? name)
        span.setStatus({ code: SpanStatusCode.ERROR })
        throw error
      } finally {
        span.end()
      }
    },
  })

  return {
    start,
    traced,
    async close() {
      const sent = provider.shutdown().catch(() => {})
      await Promise.race([sent, sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
    },
  }
}

/** What a statement does first, and to which table: its text is ours, its values are elsewhere. */
function summaryOf({ sql }: ScopedStatement): string {
  const [, verb = 'select'] = /\b(insert|update|delete|select)\b/.exec(sql) ?? []
  const [, table = ''] = /\b(?:from|into|update) "(\w+)"/.exec(sql) ?? []
  return `${verb} ${table}`.trim()
}

/** The exporter, which also says when it begins to fail, and when it works again. */
function reporting(exporter: SpanExporter, onChange: (fault: Error | undefined) => void): SpanExporter {
  let fails = false
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const { error } = result
        if (Boolean(error) !== fails) onChange(error)
        fails = Boolean(error)
        done(result)
      })
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => exporter.forceFlush?.(),
  }
}
