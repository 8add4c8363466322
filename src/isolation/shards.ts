import { type Kysely, type RawBuilder, sql } from 'kysely'
import { type CatalogFault, type Expected, shardComparison } from './catalog.ts'
import { isCitus } from './distribute.ts'
import { literal, quoteName } from './quote.ts'

/** A server that has shards. */
interface Node {
  host: string
  port: number
  /** The names of its shards. */
  shards: string[]
}

/** What a node answers to one command. */
interface Answer {
  host: string
  port: number
  ok: boolean
  text: string
}

/**
 * On Citus, compares the catalog of every node that has shards of owned tables with the declaration, as
 * compareCatalog() does on the coordinator: there the policies must stand on each shard, and the role be let in.
 * Nothing elsewhere.
 */
export async function compareShards(
  db: Kysely<any>,
  expected: Expected,
  rls: boolean,
): Promise<CatalogFault[]> {
  if (!(await isCitus(db))) return []
  const { nodes, schema } = await nodesOf(db, expected.owned)
  const compared = await ask(db, nodes, ({ shards }) => {
    const own = { ...expected, owned: shards, shared: [] }
    return asText(db, shardComparison(own, rls), schema)
  })
  const faults = compared.flatMap(({ host, port, ok, text }): CatalogFault[] =>
    ok
      ? (JSON.parse(text) as CatalogFault[]).map(({ kind, fault, repair }) => ({
          kind,
          fault: `On ${host}:${port}: ${fault}`,
          repair: `There, after set citus.enable_manual_changes_to_shards = on: ${repair}`,
        }))
      : [{ kind: 'unknown', fault: `${host}:${port} could not be asked: ${text}`, repair: 'Ask again.' }],
  )
  if (!rls) return faults
  const reached = await askAs(
    db,
    expected.roles.owned,
    nodes.filter((_, i) => compared[i]?.ok),
  )
  for (const { host, port, ok, text } of reached) {
    if (ok) continue
    const repair = `Let the coordinator in as ${expected.roles.owned} in its pg_hba.conf.`
    faults.push({ kind: 'grant', fault: `${host}:${port} refuses the role: ${text}`, repair })
  }
  return faults
}

/** Asks with the rights of the role. Nobody answers if the login may not take it: that is said elsewhere. */
async function askAs(db: Kysely<any>, role: string, nodes: readonly Node[]): Promise<Answer[]> {
  try {
    return await db.transaction().execute(async (trx) => {
      await sql`select set_config('role', ${role}, true)`.execute(trx)
      return ask(trx, nodes, () => 'select current_user')
    })
  } catch (error) {
    if (['42501', '22023'].includes((error as { code: string }).code)) return [] // not permitted, no such role
    throw error
  }
}

async function nodesOf(
  db: Kysely<any>,
  owned: readonly string[],
): Promise<{ nodes: Node[]; schema: string }> {
  const { rows: nodes } = await sql<Node>`
    select nodename as host, nodeport as port, array_agg(relname || '_' || shardid) as shards
    from pg_dist_shard join pg_dist_placement using (shardid) join pg_dist_node using (groupid)
    join pg_class as c on c.oid = logicalrelid
    where isactive and noderole = 'primary' and relnamespace = current_schema()::regnamespace
      and relname = any(${owned}::text[])
    group by host, port order by host, port`.execute(db)
  const { rows } = await sql<{ schema: string }>`select current_schema() as schema`.execute(db)
  return { nodes, schema: rows[0]?.schema ?? 'public' }
}

/** Asks all nodes at once, with the rights of whoever `db` is; the answers are in the order of the nodes. */
async function ask(
  db: Kysely<any>,
  nodes: readonly Node[],
  command: (node: Node) => string,
): Promise<Answer[]> {
  const { rows } = await sql<Answer>`
    select node_name as host, node_port as port, success as ok, result as text
    from master_run_on_worker(${nodes.map(({ host }) => host)}::text[], ${nodes.map(({ port }) => port)}::int[],
      ${nodes.map(command)}::text[], true)
    order by host, port`.execute(db)
  return rows
}

/** A query as one text that answers with one value, since a node is sent no parameters. `case` keeps the order. */
function asText(db: Kysely<any>, query: RawBuilder<unknown>, schema: string): string {
  const { sql: text, parameters } = sql`
    select case when set_config('search_path', ${quoteName(schema)}, true) is not null
      then (select coalesce(json_agg(found), '[]') from (${query}) as found) end`.compile(db)
  return text.replaceAll(/\$(\d+)/g, (_, n) => valueText(parameters[Number(n) - 1]))
}

const valueText = (value: unknown): string =>
  Array.isArray(value) ? `array[${value.map(valueText).join(', ')}]::text[]` : literal(String(value))
