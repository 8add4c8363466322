// An empty Fastify route: the upper bound for any service on Fastify.
import Fastify from 'fastify'

const app = Fastify()
app.get('/', async () => ({ status: 'healthy' }))
app.get('/todos', async () => ({ status: 'healthy' }))
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
process.on('SIGTERM', () => app.close())
