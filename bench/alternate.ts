import type { Load } from './load.ts'
import { type Pair, ratio } from './results.ts'
import { print } from './setup.ts'

export interface AlternateOptions {
  rounds: number
  /** Rounds before these, which do not count. */
  warmUp: number
}

/** Loads two sides in turn, and prints the ratio of each round. They take turns at going first. */
export async function alternate(
  name: string,
  loadOn: (side: keyof Pair) => Promise<Load>,
  { rounds, warmUp }: AlternateOptions,
): Promise<Pair[]> {
  const pairs: Pair[] = []
  for (let round = -warmUp; round < rounds; round++) {
    const pair = {} as Pair
    for (const side of round % 2 === 0 ? (['ours', 'other'] as const) : (['other', 'ours'] as const))
      pair[side] = await loadOn(side)
    if (round >= 0) pairs.push(pair)
    print(`${name}: ${ratio(pair).toFixed(2)}${round < 0 ? ' (warming up)' : ''}`)
  }
  return pairs
}
