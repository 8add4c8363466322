// The least that Fastify can do: a route without anything. What no service on it can be faster than.
import Fastify from 'fastify'

const app = Fastify()
app.get('/', async () => ({ status: 'healthy' }))
app.get('/todos', async () => ({ status: 'healthy' }))
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
process.on('SIGTERM', () => app.close())
