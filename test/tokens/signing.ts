// Everything that signs tokens here: an issuer with a key of each kind, a stranger with other keys, and the shared
// secret.
import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { createServer } from 'node:http'
import { mock } from 'node:test'
import tap from 'tap'
import { SECRET } from '../helper/app.ts'
import { listen } from '../helper/http.ts'

// The clock is stopped, so that a token that is 29 seconds too old stays so.
mock.timers.enable({ apis: ['Date'], now: Date.now() })
export const now = Math.floor(Date.now() / 1000)

/** A server that answers with this, and the paths requested from it. */
async function startServer(body: string): Promise<{ origin: string; requests: string[] }> {
  const requests: string[] = []
  const server = createServer((request, response) => {
    requests.push(request.url ?? '')
    response.setHeader('content-type', 'application/json').end(body)
  })
  return { origin: `http://127.0.0.1:${await listen(tap, server)}`, requests }
}

export const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 })
export const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve })
export const newKeys = () => ({
  EdDSA: generateKeyPairSync('ed25519'),
  ES256: ec('P-256'),
  ES512: ec('P-521'),
  RS256: rsa(),
  PS256: rsa(),
})
export type Algorithm = keyof ReturnType<typeof newKeys>
export const keys = newKeys()
export const theirKeys = newKeys()
export const ALGORITHMS = Object.keys(keys) as Algorithm[]

export const jwkOf = (alg: Algorithm, pairs = keys) => ({
  ...pairs[alg].publicKey.export({ format: 'jwk' }),
  alg,
  use: 'sig',
  kid: alg,
})
/** Keys that the issuer publishes but that must not be used: their algorithms are not on the list. */
export const UNLISTED = {
  RS384: 'RS256',
  RS512: 'RS256',
  PS384: 'PS256',
  PS512: 'PS256',
  Ed25519: 'EdDSA',
} as const
export const published = [
  ...ALGORITHMS.map((alg) => jwkOf(alg)),
  ...Object.entries(UNLISTED).map(([alg, like]) => ({ ...jwkOf(like), alg, kid: alg })),
]
export const issuer = await startServer(JSON.stringify({ keys: published }))
export const attacker = await startServer(
  JSON.stringify({ keys: ALGORITHMS.map((alg) => jwkOf(alg, theirKeys)) }),
)

export type Part = string | Buffer | object
export const encode = (part: Part) =>
  Buffer.from(typeof part === 'string' || Buffer.isBuffer(part) ? part : JSON.stringify(part)).toString(
    'base64url',
  )

export const claims = (changed: object = {}) => ({ sub: 'mallory', iat: now, exp: now + 3600, ...changed })
export const HS256 = { alg: 'HS256', typ: 'JWT' }
export const hmac = (input: string, secret: string | Buffer = SECRET, hash = 'sha256') =>
  `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`
/** Signed with the secret, whatever the header says. */
export const hs = (payload: Part = claims(), header: Part = HS256, secret?: string | Buffer, hash?: string) =>
  hmac(`${encode(header)}.${encode(payload)}`, secret, hash)
export const withClaims = (changed: object) => hs(claims(changed))
export const withHeader = (changed: object) => hs(claims(), { ...HS256, ...changed })
/** A raw payload, for what JSON.stringify does not write. */
export const raw = (members: string) => hs(`{"sub":"mallory","iat":${now},${members}}`)

export const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
export const signers: Record<Algorithm, (input: Buffer, key: KeyObject) => Buffer> = {
  EdDSA: (input, key) => sign(null, input, key),
  ES256: (input, key) => sign('sha256', input, { key, dsaEncoding: 'ieee-p1363' }),
  ES512: (input, key) => sign('sha512', input, { key, dsaEncoding: 'ieee-p1363' }),
  RS256: (input, key) => sign('sha256', input, key),
  PS256: (input, key) => sign('sha256', input, { key, ...PSS }),
}
export const issued = (changed: object = {}) => claims({ iss: issuer.origin, aud: issuer.origin, ...changed })
/** Signed with a private key: by default the issuer's. */
export function pk(
  alg: Algorithm,
  { payload = issued() as Part, header = {}, pairs = keys, signer = signers[alg] } = {},
) {
  const input = `${encode({ alg, typ: 'JWT', kid: alg, ...header })}.${encode(payload)}`
  return `${input}.${signer(Buffer.from(input), pairs[alg].privateKey).toString('base64url')}`
}

export const good = hs()
export const [head, body, signature] = good.split('.') as [string, string, string]
export const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
/** The same bytes, with the unused bits of the last character set. */
export const nonCanonical = (part: string) =>
  part.slice(0, -1) + BASE64URL[BASE64URL.indexOf(part.at(-1) as string) + 1]
/** Claims whose base64url ends in unused bits. */
export const uneven = encode(
  JSON.stringify(claims()).padEnd(Math.ceil(JSON.stringify(claims()).length / 3) * 3 + 1),
)

export const words = (text: string) => text.split(' ')
export const show = (value: unknown) => JSON.stringify(value)?.slice(0, 60) ?? 'missing'
export const KEY_URL = `${attacker.origin}/jwks`
