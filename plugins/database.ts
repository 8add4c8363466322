import fp from 'fastify-plugin'
import packageJson from '../package.json' with { type: 'json' }
import type { Config } from '../src/config.ts'
import { connect, type Database, type DatabaseState, OverloadedError } from '../src/database/index.ts'
import { SharedScope, UserScope } from '../src/isolation/index.ts'
import { diagnose, migrate, readinessOf } from '../src/migrations/index.ts'
import { isolation } from '../src/tables.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** What /ready says of the database. */
    database: {
      /**
       * A good answer is at most a second old, and none is if a connection broke since.
       * @throws HttpProblem 503 if it does not answer, takes no writes, lacks migrations or refuses the roles
       */
      check(): Promise<void>
      /** Whether statements run under roles of their own. */
      rls: boolean
      /** What goes on at this moment. */
      state(): DatabaseState
      /** How often a check found that the walls between users are not as declared. */
      isolationFailures(): number
    }
    /** The tables that belong to nobody. */
    sharedScope: SharedScope
  }
  interface FastifyRequest {
    /** The rows of `request.user`: the only way to a user-owned table. */
    readonly scope: UserScope
    /** The same for what takes many batches: each has the whole time, and not only what is left of the request's. */
    readonly untimedScope: UserScope
  }
}

export interface DatabasePluginOptions {
  /** One that is open and migrated already, and stays open when the app closes. */
  database?: Database
}

// Before plugins/drain cuts the connections of those who wait.
const INTERRUPT_AFTER_MS = 2_500
// /ready is open to all, and what it asks is not cheap.
const KEPT_MS = 1_000

/** Opens the database and binds each request to its user's rows. */
export default fp<DatabasePluginOptions>(
  async (app, { database }) => {
    const { databaseUrl, DATABASE_POOL_MAX, DATABASE_TIMEOUT, DATABASE_PREPARE, DATABASE_RLS, NODE_ENV } =
      app.config
    let readyUntil = 0
    const db =
      database ??
      (await connect({
        url: databaseUrl,
        poolMax: DATABASE_POOL_MAX,
        statementTimeout: DATABASE_TIMEOUT,
        prepare: DATABASE_PREPARE === 'on',
        rls: DATABASE_RLS === 'on',
        applicationName: packageJson.name,
        onConnectionError: (err) => {
          app.log.warn({ err }, 'a database connection broke while idle')
          readyUntil = 0
        },
      }))
    if (!database) {
      // A database that does not answer must not hold the shutdown: those who wait for it get their 503.
      let interrupt: NodeJS.Timeout | undefined
      app.addHook('preClose', async () => {
        interrupt = setTimeout(() => db.interrupt(), INTERRUPT_AFTER_MS).unref()
      })
      app.addHook('onClose', async () => {
        clearTimeout(interrupt)
        await db.close()
      })
    }

    // In production `npm run migrate` does it, before the deploy; the embedded database has no one else to do it.
    if (!database && (db.embedded || NODE_ENV !== 'production')) {
      const done = await migrateAs(app.config.owner, db)
      if (done.length > 0) app.log.info({ migrations: done }, 'database migrated')
    }
    if (!db.rls)
      app.log.warn(
        'DATABASE_RLS=off: statements run with the rights of the login, so row-level security may not apply',
      )

    // Nobody may ever ask for /ready.
    app.addHook('onListen', async () => {
      const faults = await diagnose(db).catch(() => []) // of a database that does not answer, requests tell
      for (const fault of faults) app.log.error(fault)
    })

    const ask = readinessOf(db)
    let isolationFailures = 0
    const check = async () => {
      if (performance.now() < readyUntil) return
      await ask().catch((error) => {
        if (error.code === 'isolation_broken') isolationFailures += 1
        throw error
      })
      readyUntil = performance.now() + KEPT_MS
    }
    app.decorate('database', {
      check,
      rls: db.rls,
      state: () => db.state(),
      isolationFailures: () => isolationFailures,
    })
    // Before its body is read. What is under way already is not broken off.
    app.addHook('preParsing', (request, _reply, _payload, done) => {
      const { user, method } = request
      const writes = method !== 'GET' && method !== 'HEAD'
      const isOverloaded = user !== undefined && db.isOverloaded(user.id, writes)
      done(isOverloaded ? new OverloadedError() : null)
    })

    const runner = isolation.confine(app.traced?.(db) ?? db)
    app.decorate('sharedScope', new SharedScope(runner))
    app.decorateRequest('scope', {
      getter() {
        // However long it has waited for its turn, it has half of the time.
        const since = performance.now() - Math.min(this.waited, db.statementTimeout / 2)
        return new UserScope({ run: (statements) => runner.run(statements, since) }, this.owner)
      },
    })
    app.decorateRequest('untimedScope', {
      getter() {
        return new UserScope(runner, this.owner)
      },
    })
  },
  { name: 'database', dependencies: ['env', 'tracing', 'concurrency', 'jwt'] },
)

async function migrateAs({ url, login }: Config['owner'], db: Database): Promise<string[]> {
  if (!login) return migrate(db)
  const owner = await connect({ url, rls: db.rls })
  return migrate(owner, login).finally(() => owner.close())
}
