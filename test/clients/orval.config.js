const input = './generated/openapi.json'

export default {
  client: {
    input,
    output: {
      client: 'fetch',
      target: './generated/orval/client.ts',
      baseUrl: { runtime: 'process.env.TASKS_URL' },
    },
  },
  validators: { input, output: { client: 'zod', target: './generated/orval/validators.ts' } },
}
