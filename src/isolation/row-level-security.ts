import { type Kysely, sql } from 'kysely'
import { quoteName } from './quote.ts'
import { settingOf } from './settings.ts'

/** The condition of the policy: the owner columns equal the settings. */
export function policyExpression(prefix: string, columns: readonly string[]): string {
  return columns
    .map((column) => `${quoteName(column)} = current_setting('${settingOf(prefix, column)}', true)`)
    .join(' and ')
}

/**
 * The third wall: PostgreSQL itself shows and accepts only rows with owner columns equal to the settings. Forced, so
 * that it holds for the login that owns the table too; without the settings, no row. May run any number of times.
 *
 * @param table the name of a table that has the owner columns, of type text
 * @param prefix of the settings
 */
export async function protect(
  db: Kysely<any>,
  table: string,
  prefix: string,
  columns: readonly string[],
): Promise<void> {
  const name = sql.table(table)
  const own = sql.raw(policyExpression(prefix, columns))
  await sql`alter table ${name} enable row level security, force row level security`.execute(db)
  await sql`drop policy if exists own_rows on ${name}`.execute(db)
  await sql`create policy own_rows on ${name} using (${own}) with check (${own})`.execute(db)
}
