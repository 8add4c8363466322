import { type Kysely, sql } from 'kysely'

/** Whether the database is the coordinator of a Citus cluster. */
export async function isCitus(db: Kysely<any>): Promise<boolean> {
  const { rows } = await sql`select from pg_extension where extname = 'citus'`.execute(db)
  return rows.length > 0
}

/**
 * On Citus, spreads a table's rows over the workers by the first owner column, in the same places as those of the other
 * owned tables; elsewhere it does nothing. So a statement that is bound to an owner goes to one shard. May run any
 * number of times.
 * @param owned the names of all owned tables
 */
export async function distribute(
  db: Kysely<any>,
  table: string,
  [column]: readonly string[],
  owned: readonly string[],
): Promise<void> {
  if (!(await isCitus(db))) return
  const name = sql`quote_ident(${table}::text)`
  const { rows } = await sql`select from pg_dist_partition where logicalrelid = ${name}::regclass`.execute(db)
  if (rows.length > 0) return
  // Made over several connections, the shards would keep a later migration in this transaction from making a type.
  await sql`select set_config('citus.multi_shard_modify_mode', 'sequential', true)`.execute(db)
  await sql`
    select create_distributed_table(${name}, ${column}::text, colocate_with => coalesce((
      select logicalrelid::text from pg_dist_partition
      where partmethod = 'h' and logicalrelid = any(select to_regclass(quote_ident(other)) from unnest(${owned}::text[]) as other)
      limit 1), 'default'))`.execute(db)
  // Citus copies the rows that are there, and keeps what it has copied, hidden.
  await sql`select truncate_local_data_after_distributing_table(${name}::regclass)`.execute(db)
}
