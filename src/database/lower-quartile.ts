// Steps towards a new value. Where three of four are higher, those up and those down are equal.
const UP = 1.02
const DOWN = UP ** -3
const LEAST = 0.01

/** What three of four of the latest values are above; 0.01 at least. */
export class LowerQuartile {
  #value: number

  /** @param value where it starts */
  constructor(value: number) {
    this.#value = value
  }

  get value(): number {
    return this.#value
  }

  add(value: number): void {
    this.#value = Math.max(this.#value * (value > this.#value ? UP : DOWN), LEAST)
  }
}
