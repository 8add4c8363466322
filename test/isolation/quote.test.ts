import { sql } from 'kysely'
import t from 'tap'
import { literal, quoteName } from '../../src/isolation/quote.ts'
import { database } from '../helper/database.ts'
import { HOSTILE_IDS } from './hostile-ids.ts'

t.test('a text in SQL is that text, whatever the server makes of backslashes', async (t) => {
  const db = await database()
  await db.asLogin((login) =>
    login.transaction().execute(async (trx) => {
      for (const conforming of ['on', 'off']) {
        await sql`set local standard_conforming_strings = ${sql.lit(conforming)}`.execute(trx)
        for (const id of HOSTILE_IDS) {
          // As Citus sends it on: in front of other statements.
          await sql`set local app.user_id = ${sql.raw(literal(id))}`.execute(trx)
          const { rows } = await sql`select current_setting('app.user_id') as id`.execute(trx)
          t.same(rows, [{ id }], `${conforming}: ${id}`)
        }
      }
    }),
  )
})

t.test('a text that would end the statement is refused', async (t) => {
  t.throws(() => literal("a\0'"), TypeError)
})

t.test('a name in SQL', async (t) => {
  t.equal(quoteName('user "x"'), '"user ""x"""')
})
