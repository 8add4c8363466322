const CAUSES: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was cut',
  UND_ERR_SOCKET: 'the connection was cut',
  ENOTFOUND: 'there is no host of this name',
  EAI_AGAIN: 'the name server does not answer',
  ETIMEDOUT: 'nobody answers',
  UND_ERR_CONNECT_TIMEOUT: 'nobody answers',
  UND_ERR_HEADERS_TIMEOUT: 'it takes connections but does not answer',
  EHOSTUNREACH: 'there is no way to that host',
  ENETUNREACH: 'there is no way to that network',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is self-signed',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is not signed by an authority known here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is not signed by an authority known here',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it speaks http, not https',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it speaks http, not https',
}

/** Why a server could not be asked: the innermost error that has a code, in words. */
export function explainNetwork(error: unknown): string {
  const chain: (Error & { code?: unknown })[] = []
  for (let one = error; one instanceof Error && chain.length < 10; one = one.cause) chain.push(one)
  if (chain.some(({ name }) => name === 'TimeoutError')) return 'no answer in time'
  const ofJose = chain.find(({ code }) => String(code).startsWith('ERR_J')) // in words already
  if (ofJose) return ofJose.message
  const last = chain.findLast(({ code }) => typeof code === 'string') ?? chain.at(-1)
  if (!last) return String(error)
  const { code, message } = last
  return typeof code === 'string' ? `${code}: ${CAUSES[code] ?? message}` : message
}
