/** A name in SQL. */
export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`

/**
 * A text in SQL, for statements that take no parameters. It reads the same whatever standard_conforming_strings is.
 * @throws TypeError for a text with NUL: it would end the statement
 */
export function literal(text: string): string {
  if (text.includes('\0')) throw new TypeError('a text with NUL is no value')
  const quoted = `'${text.replaceAll("'", "''")}'`
  return text.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted
}
