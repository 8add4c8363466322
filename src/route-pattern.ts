import type { FastifyRequest } from 'fastify'

/**
 * The pattern of the route that a request has matched, such as `/todos/:id`; undefined where there is none. For
 * operators: there are as many as there are routes, and nothing of a user is in it.
 */
export function routePattern({ routeOptions: { url } }: FastifyRequest): string | undefined {
  return url?.replaceAll(/\([^/]*\)/g, '')
}
