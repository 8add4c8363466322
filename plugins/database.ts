import fp from 'fastify-plugin'
import { connect, type Database } from '../src/database.ts'
import { UserScope } from '../src/isolation.ts'

declare module 'fastify' {
  interface FastifyInstance {
    database: Database
  }
  interface FastifyRequest {
    /** The rows of `request.user`: the only way to a user-owned table. */
    readonly scope: UserScope
  }
}

export interface DatabasePluginOptions {
  /** One that is open already, and stays open when the app closes. */
  database?: Database
}

/** Opens the database and binds each request to its user's rows. */
export default fp<DatabasePluginOptions>(
  async (app, { database }) => {
    const { databaseUrl, DATABASE_POOL_MAX, DATABASE_TIMEOUT, DATABASE_PREPARE, DATABASE_RLS, NODE_ENV } =
      app.config
    const db =
      database ??
      (await connect({
        url: databaseUrl,
        poolMax: DATABASE_POOL_MAX,
        statementTimeout: DATABASE_TIMEOUT,
        prepare: DATABASE_PREPARE === 'on',
        rls: DATABASE_RLS === 'on',
        onConnectionError: (err) => app.log.warn({ err }, 'a database connection broke while idle'),
      }))
    if (!database) app.addHook('onClose', () => db.close())

    // In production `npm run migrate` does it, before the deploy; the embedded database has no one else to do it.
    if (db.embedded || NODE_ENV !== 'production') {
      const done = await db.migrate()
      if (done.length > 0) app.log.info({ migrations: done }, 'database migrated')
    }
    if (!db.rls)
      app.log.warn(
        'DATABASE_RLS=off: statements run with the rights of the login, so row-level security may not apply',
      )

    app.decorate('database', db)
    app.decorateRequest('scope', {
      getter() {
        return new UserScope(db, this.user.id)
      },
    })
  },
  { name: 'database', dependencies: ['env', 'jwt'] },
)
