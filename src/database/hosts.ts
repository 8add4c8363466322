import { isIPv6 } from 'node:net'

/** Which sessions will do: any, one that takes writes, or one of a server that is no standby. */
export type Wanted = 'any' | 'read-write' | 'primary'

export interface Hosts {
  /** An address for each host, in the order in which they are tried. */
  urls: string[]
  /** `target_session_attrs`; by default `read-write` for several hosts, `any` for one. */
  wanted: Wanted
  /** `connect_timeout` in milliseconds. */
  connectTimeout: number | undefined
}

const ADDRESS = /^(postgres(?:ql)?:\/\/)([^/?#]*@)?([^/?#]*)([^?#]*)(?:\?([^#]*))?/i
const PORT = /:\d*$/

/**
 * Reads an address as libpq does (PostgreSQL's documentation, 34.1.1): `postgres://USER:PASSWORD@a:5432,b:5433/DATABASE`, or
 * `host` and `port` as parameters, with one port for all or one for each. pg itself knows one host only.
 * @throws Error with one sentence that reveals nothing of the address
 */
export function parseHosts(address: string): Hosts {
  const [, scheme, login = '', authority = '', path = '', search = ''] = ADDRESS.exec(address) ?? []
  const parameters = new URLSearchParams(search)
  const seconds = Number(parameters.get('connect_timeout'))
  const connectTimeout = seconds > 0 ? seconds * 1000 : undefined
  const attributes = parameters.get('target_session_attrs')
  const hosts = parameters.get('host')?.split(',').map(inAuthority) ?? authority.split(',')
  const ports = parameters.get('port')?.split(',') ?? []
  if (!scheme || (hosts.length === 1 && ports.length < 2))
    return { urls: [address], wanted: wantedBy(attributes ?? 'any'), connectTimeout }

  if (ports.length > 1 && ports.length !== hosts.length)
    throw new Error(`has ${hosts.length} hosts, but ${ports.length} ports: give one for all, or one for each`)
  for (const name of ['host', 'port', 'target_session_attrs']) parameters.delete(name)
  const urls = hosts.map((host, i) => {
    const port = ports[i] ?? ports[0]
    const at = port === undefined ? host : `${host.replace(PORT, '')}:${port}`
    const url = `${scheme}${login}${at}${path}${parameters.size > 0 ? `?${parameters}` : ''}`
    if (!URL.parse(url)?.hostname)
      throw new Error(`has ${hosts.length} hosts, and the one at place ${i + 1} is not HOST or HOST:PORT`)
    return url
  })
  return { urls, wanted: wantedBy(attributes ?? 'read-write'), connectTimeout }
}

/** A host of the parameter, which may be the folder of a socket, as it stands in front of the path. */
const inAuthority = (host: string) => (isIPv6(host) ? `[${host}]` : encodeURIComponent(host))

function wantedBy(attributes: string): Wanted {
  switch (attributes) {
    case 'any':
    case 'read-write':
    case 'primary':
      return attributes
    case 'read-only':
    case 'standby':
    case 'prefer-standby':
      throw new Error(
        `has target_session_attrs=${attributes}, but this service writes: leave it out, or use read-write`,
      )
    default:
      throw new Error('has a target_session_attrs that is not any, read-write or primary')
  }
}
