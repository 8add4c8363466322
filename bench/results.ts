import { readFileSync, writeFileSync } from 'node:fs'
import type { Load } from './load.ts'
import { median, print } from './setup.ts'

const FILE = 'bench/RESULTS.md'

/** One load on each side. */
export interface Pair {
  ours: Load
  other: Load
}

export const ratio = ({ ours, other }: Pair): number => ours.rate / other.rate
const ratioOfP99 = ({ ours, other }: Pair): number => ours.p99 / other.p99

/** A line of a table: a pair for each round, and a remark. */
export interface Row {
  name: string
  pairs: readonly Pair[]
  remark: string
}

/** @param heading of the remarks */
export const table = (heading: string, rows: readonly Row[]): string[] => [
  `| | requests/s, ratio | spread | ${heading} | p99, ratio | spread | requests/s | p99 in ms |`,
  '| --- | --- | --- | --- | --- | --- | --- | --- |',
  ...rows.map(lineOf),
]

function lineOf({ name, pairs, remark }: Row): string {
  const spread = (of: (pair: Pair) => number) => {
    const ratios = pairs.map(of)
    return `**${median(ratios).toFixed(2)}** | ${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`
  }
  const both = (figure: keyof Load) =>
    (['ours', 'other'] as const)
      .map((side) => median(pairs.map((pair) => pair[side][figure])).toFixed(0))
      .join(' / ')
  return `| ${[name, spread(ratio), remark, spread(ratioOfP99), both('rate'), both('p99')].join(' | ')} |`
}

/** Prints a section of bench/RESULTS.md, and writes it there in place of the last one; the others stay. */
export function writeSection(title: string, lines: readonly string[]): void {
  const section = [`## ${title}`, '', ...lines].join('\n')
  const [top, ...sections] = readFileSync(FILE, 'utf8')
    .trimEnd()
    .split(/\n+(?=## )/)
  const old = sections.findIndex((other) => other.startsWith(`## ${title}\n`))
  if (old < 0) sections.push(section)
  else sections[old] = section
  writeFileSync(FILE, `${[top, ...sections].join('\n\n')}\n`)
  print(section)
}
