// What `npm test` prints: a line for each file, every failure with its context, and one line with the totals.
import { Transform, type TransformCallback } from 'node:stream'

const POINT = /^( *)(not ok|ok) \d+(?: - )?(.*?)(?: # (.*))?$/

/** Reads TAP. Test points at depth 0 are files; one that follows the plan of a subtest closes that subtest. */
export default class Reporter extends Transform {
  #rest = ''
  /** Names of the open subtests, by depth. */
  #names: string[] = []
  /** Depths with a plan since the last test point above it. */
  #planned = new Set<number>()
  #skipped = new Map<string, number>()
  #inDetails = false
  #shown = false
  #passed = 0
  #failed = 0
  #inFile = { passed: 0, failed: 0 }

  constructor() {
    super({ decodeStrings: false })
  }

  override _transform(chunk: Buffer | string, _encoding: BufferEncoding, done: TransformCallback): void {
    const lines = (this.#rest + String(chunk)).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) this.#read(line)
    done()
  }

  override _flush(done: TransformCallback): void {
    for (const [reason, count] of this.#skipped) this.#print(`skipped: ${reason} (${count})`)
    this.#print(`${this.#passed} passed, ${this.#failed} failed`)
    done()
  }

  #print(line: string): void {
    this.push(`${line}\n`)
  }

  #read(line: string): void {
    const text = line.trimStart()
    const depth = Math.floor((line.length - text.length) / 4)
    if (text === '---') this.#inDetails = true
    if (this.#inDetails) {
      if (this.#shown && text !== '---' && text !== '...') this.#print(`    ${line.slice(depth * 4)}`)
      if (text === '...') this.#inDetails = false
      return
    }
    if (text.startsWith('# Subtest: ')) this.#names[depth] = text.slice('# Subtest: '.length)
    else if (text.startsWith('Bail out!')) this.#fail(text)
    else if (/^1\.\.\d+/.test(text)) this.#planned.add(depth)
    else this.#readPoint(line, depth)
  }

  #readPoint(line: string, depth: number): void {
    const [, , verdict, name = '', directive = ''] = POINT.exec(line) ?? []
    if (!verdict) return
    this.#shown = false
    const closes = this.#planned.delete(depth + 1)
    const skipped = /^skip\b ?(.*)/i.exec(directive)?.[1]
    if (depth === 0) return this.#closeFile(verdict, name, directive)
    if (skipped !== undefined) this.#skipped.set(skipped, (this.#skipped.get(skipped) ?? 0) + 1)
    else if (verdict === 'not ok' && (!closes || this.#inFile.failed === 0)) {
      this.#fail([...this.#names.slice(1, depth), name].join(' > '))
    } else if (!closes) this.#inFile.passed += 1
  }

  #closeFile(verdict: string, name: string, directive: string): void {
    if (verdict === 'not ok' && this.#inFile.failed === 0) this.#fail('the file')
    const { passed, failed } = this.#inFile
    const seconds = (parseFloat(/time=([\d.]+)/.exec(directive)?.[1] ?? '0') / 1000).toFixed(1)
    const sums = [failed ? `${failed} FAILED` : '', `${passed} passed`].filter(Boolean).join(', ')
    this.#print(`${failed ? 'not ok' : 'ok'} ${name}: ${sums}, ${seconds} s`)
    this.#passed += passed
    this.#failed += failed
    this.#inFile = { passed: 0, failed: 0 }
  }

  #fail(what: string): void {
    this.#inFile.failed += 1
    this.#shown = true
    this.#print(`FAILED: ${what}`)
  }
}
