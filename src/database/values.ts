import pg from 'pg'

/** Parses the text of a value. */
export type Parser = (text: string) => unknown

// pg exports it without types.
const { prepareValue } = (
  pg as unknown as { utils: { prepareValue(value: unknown): string | Buffer | null } }
).utils

const PARSERS: Record<number, Parser> = {
  [pg.types.builtins.INT8]: Number,
  [pg.types.builtins.TIMESTAMPTZ]: toIso,
}

/** @param type the OID of the column's type */
export function parserOf(type: number): Parser {
  return PARSERS[type] ?? pg.types.getTypeParser(type)
}

/**
 * A timestamptz as PostgreSQL writes it in UTC, `2026-01-31 09:30:00.123456+00`, as ISO 8601 in milliseconds:
 * `2026-01-31T09:30:00.123Z`. No Date is created unless it is needed.
 *
 * Years of five digits or before Christ have a sign and six digits, as JavaScript writes and reads them
 * (`+010000-01-01T00:00:00.000Z`, `-000043-03-15T00:00:00.000Z` for 44 BC). `infinity` and `-infinity` stay as they are.
 */
export function toIso(text: string): string {
  if (text.endsWith('+00') && text[4] === '-') {
    return `${text.slice(0, 10)}T${text.slice(11, 19)}.${text.slice(20, -3).padEnd(3, '0').slice(0, 3)}Z`
  }
  if (text === 'infinity' || text === '-infinity') return text
  const [, year = '', date = '', time = '', fraction = '', bc] =
    /^(\d{4,})-(\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00( BC)?$/.exec(text) ?? []
  if (!year) throw new Error(`not a timestamptz in ISO style and UTC: ${text}`)
  const astronomical = bc ? 1 - Number(year) : Number(year)
  const digits = String(Math.abs(astronomical)).padStart(
    astronomical >= 0 && astronomical <= 9999 ? 4 : 6,
    '0',
  )
  const sign = astronomical < 0 ? '-' : astronomical > 9999 ? '+' : ''
  return `${sign}${digits}-${date}T${time}.${fraction.padEnd(3, '0').slice(0, 3)}Z`
}

/**
 * A parameter in the form that PostgreSQL reads, serialized as pg does: arrays as arrays, objects as JSON, Buffers in
 * binary.
 * @throws TypeError for a value that has no such form
 */
export function toText(value: unknown): string | Buffer | null {
  if (typeof value === 'string') return value
  if (typeof value === 'function' || typeof value === 'symbol')
    throw new TypeError(`a ${typeof value} is no value`)
  return prepareValue(value)
}
