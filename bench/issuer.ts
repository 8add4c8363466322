import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'

const SECRET = randomBytes(32).toString('base64url')

/** As in production, except for the limits, which are too high to be reached. */
export const ENVIRONMENT = {
  NODE_ENV: 'production',
  BETTER_AUTH_SECRET: SECRET,
  FRONTEND_URL: 'https://app.example.com',
  RATE_LIMIT_MAX: '1000000000',
  AUTH_RATE_LIMIT_MAX: '1000000000',
}

export interface Issuer {
  url: string
  sign(alg: 'HS256' | 'EdDSA', sub: string): Promise<string>
  close(): void
}

/** Issues tokens of both kinds, and serves the key of one as Better Auth does. */
export async function openIssuer(): Promise<Issuer> {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA')
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'bench', alg: 'EdDSA' }] })
  const server = createServer((_request, response) => response.end(jwks))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  return {
    url,
    sign: (alg, sub) =>
      new SignJWT({ email: `${sub}@example.com`, name: 'Somebody' })
        .setProtectedHeader(alg === 'EdDSA' ? { alg, kid: 'bench' } : { alg, typ: 'JWT' })
        .setSubject(sub)
        .setIssuer(url)
        .setAudience(url)
        .setIssuedAt()
        .setExpirationTime('1h')
        .sign(alg === 'EdDSA' ? privateKey : new TextEncoder().encode(SECRET)),
    close: () => server.close(),
  }
}
