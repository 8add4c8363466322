import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mock } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import t, { type Test } from 'tap'
import type { Database } from '../../src/database.ts'
import { type App, build, type BuildOptions, SECRET } from '../helper/app.ts'
import { database } from '../helper/database.ts'

// The clock stands still, so that a token that is 29 seconds too old stays so.
mock.timers.enable({ apis: ['Date'], now: Date.now() })
const now = Math.floor(Date.now() / 1000)

async function listen(body = ''): Promise<{ origin: string; requests: string[] }> {
  const requests: string[] = []
  const server = createServer((request, response) => {
    requests.push(request.url ?? '')
    response.setHeader('content-type', 'application/json').end(body)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests }
}

const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve })
const newKeys = () => ({
  EdDSA: generateKeyPairSync('ed25519'),
  ES256: ec('P-256'),
  ES512: ec('P-521'),
  RS256: rsa(),
  PS256: rsa(),
})
type Algorithm = keyof ReturnType<typeof newKeys>
const keys = newKeys()
const theirKeys = newKeys()
const ALGORITHMS = Object.keys(keys) as Algorithm[]

const jwkOf = (alg: Algorithm, pairs = keys) => ({
  ...pairs[alg].publicKey.export({ format: 'jwk' }),
  alg,
  use: 'sig',
  kid: alg,
})
/** What the issuer publishes, but nobody is to use: algorithms that are not on the list. */
const UNLISTED = { RS384: 'RS256', RS512: 'RS256', PS384: 'PS256', PS512: 'PS256', Ed25519: 'EdDSA' } as const
const published = [
  ...ALGORITHMS.map((alg) => jwkOf(alg)),
  ...Object.entries(UNLISTED).map(([alg, like]) => ({ ...jwkOf(like), alg, kid: alg })),
]
const issuer = await listen(JSON.stringify({ keys: published }))
const attacker = await listen(JSON.stringify({ keys: ALGORITHMS.map((alg) => jwkOf(alg, theirKeys)) }))

type Part = string | Buffer | object
const encode = (part: Part) =>
  Buffer.from(typeof part === 'string' || Buffer.isBuffer(part) ? part : JSON.stringify(part)).toString(
    'base64url',
  )

const claims = (changed: object = {}) => ({ sub: 'mallory', iat: now, exp: now + 3600, ...changed })
const HS256 = { alg: 'HS256', typ: 'JWT' }
const hmac = (input: string, secret: string | Buffer = SECRET, hash = 'sha256') =>
  `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`
/** Signed with the secret, whatever the header says. */
const hs = (payload: Part = claims(), header: Part = HS256, secret?: string | Buffer, hash?: string) =>
  hmac(`${encode(header)}.${encode(payload)}`, secret, hash)
const withClaims = (changed: object) => hs(claims(changed))
const withHeader = (changed: object) => hs(claims(), { ...HS256, ...changed })
/** A payload written by hand, for what JSON.stringify does not write. */
const raw = (members: string) => hs(`{"sub":"mallory","iat":${now},${members}}`)

const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
const signers: Record<Algorithm, (input: Buffer, key: KeyObject) => Buffer> = {
  EdDSA: (input, key) => sign(null, input, key),
  ES256: (input, key) => sign('sha256', input, { key, dsaEncoding: 'ieee-p1363' }),
  ES512: (input, key) => sign('sha512', input, { key, dsaEncoding: 'ieee-p1363' }),
  RS256: (input, key) => sign('sha256', input, key),
  PS256: (input, key) => sign('sha256', input, { key, ...PSS }),
}
const issued = (changed: object = {}) => claims({ iss: issuer.origin, aud: issuer.origin, ...changed })
/** Signed with a private key: the issuer's, unless told otherwise. */
function pk(
  alg: Algorithm,
  { payload = issued() as Part, header = {}, pairs = keys, signer = signers[alg] } = {},
) {
  const input = `${encode({ alg, typ: 'JWT', kid: alg, ...header })}.${encode(payload)}`
  return `${input}.${signer(Buffer.from(input), pairs[alg].privateKey).toString('base64url')}`
}

const good = hs()
const [head, body, signature] = good.split('.') as [string, string, string]
const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
/** The same bytes, with the unused bits of the last character set. */
const nonCanonical = (part: string) =>
  part.slice(0, -1) + BASE64URL[BASE64URL.indexOf(part.at(-1) as string) + 1]
/** Claims whose base64url ends in unused bits. */
const uneven = encode(JSON.stringify(claims()).padEnd(Math.ceil(JSON.stringify(claims()).length / 3) * 3 + 1))

type Row = [name: string, token: string, code?: string]
const each = <T>(values: T[], row: (value: T) => Row) => values.map(row)
const words = (text: string) => text.split(' ')
const show = (value: unknown) => JSON.stringify(value)?.slice(0, 60) ?? 'missing'

const NONE = [...words('none None NONE nOnE'), 'none ', ' none', 'none\u0000']
const OTHER_ALGORITHMS = [
  ...words('hs256 Hs256 HS384 HS512 HS1 HS256/64 HS256,none SHA256 RS256 PS256 ES256 ES512 EdDSA RS1 RS384'),
  ...words('ES384 ES256K Ed448 ML-DSA-44 dir A256KW RSA1_5 RSA-OAEP ECDH-ES PBES2-HS256+A128KW'),
  ...words('__proto__ constructor toString'),
]
const NO_ALGORITHMS = ['', ' HS256', 'HS256 ', 'HS256\u0000', 'HS256\nnone', null, undefined, 0, true]
const algorithms: Row[] = [
  ...each(NONE, (alg) => [`alg ${show(alg)}, no signature`, `${encode({ ...HS256, alg })}.${body}.`]),
  ...each<unknown>([...NONE, ...OTHER_ALGORITHMS, ...NO_ALGORITHMS, ['HS256'], ['none'], {}], (alg) => [
    `alg ${show(alg)}, HMAC of the secret`,
    withHeader({ alg }),
  ]),
  ['alg none, two parts', `${encode({ alg: 'none' })}.${body}`],
  ['alg none, signature AA', `${encode({ alg: 'none' })}.${body}.AA`],
  ['HS384 with the secret', hs(claims(), { alg: 'HS384' }, SECRET, 'sha384')],
  ['HS512 with the secret', hs(claims(), { alg: 'HS512' }, SECRET, 'sha512')],
  ['HS256 said, SHA-512 done', hs(claims(), HS256, SECRET, 'sha512')],
  ...each(Object.entries(UNLISTED), ([alg, like]) => {
    const signer = (input: Buffer, key: KeyObject) =>
      sign(alg === 'Ed25519' ? null : `sha${alg.slice(2)}`, input, like === 'PS256' ? { key, ...PSS } : key)
    return [`${alg} by the issuer's key`, pk(like, { header: { alg, kid: alg }, signer })]
  }),
  ['PBES2 with a huge count', withHeader({ alg: 'PBES2-HS256+A128KW', p2c: 2 ** 31, p2s: 'AAAA' })],
]

const pemOf = (alg: Algorithm) => keys[alg].publicKey.export({ type: 'spki', format: 'pem' }) as string
const WRONG_SECRETS = {
  empty: '',
  NUL: '\u0000',
  common: 'secret',
  null: 'null',
  undefined: 'undefined',
  cut: SECRET.slice(0, -1),
  'with a line break': `${SECRET}\n`,
  'in lower case': SECRET.toLowerCase(),
}
const confusion: Row[] = [
  ...ALGORITHMS.flatMap((alg) => {
    const der = keys[alg].publicKey.export({ type: 'spki', format: 'der' })
    const forms = {
      PEM: pemOf(alg),
      'trimmed PEM': pemOf(alg).trim(),
      DER: der,
      JWK: JSON.stringify(jwkOf(alg)),
    }
    return each<[string, string | Buffer]>(Object.entries(forms), ([form, secret]) => [
      `HS256 with the public ${alg} key as ${form}`,
      hs(issued(), { ...HS256, kid: alg }, secret),
    ])
  }),
  ...each(ALGORITHMS, (alg) => [
    `${alg} said, HMAC with its PEM`,
    hs(issued(), { alg, kid: alg }, pemOf(alg)),
  ]),
  ...each(Object.entries(WRONG_SECRETS), ([name, secret]) => [`secret ${name}`, hs(claims(), HS256, secret)]),
  ['RS256 said, PS256 done', pk('RS256', { signer: signers.PS256 })],
  ['PS256 said, RS256 done', pk('PS256', { signer: signers.RS256 })],
  ['RS256 by the key for PS256', pk('PS256', { header: { alg: 'RS256' }, signer: signers.RS256 })],
  ['RS256 with the kid of EdDSA', pk('RS256', { header: { kid: 'EdDSA' } })],
  ['ES256 with the kid of ES512', pk('ES256', { header: { kid: 'ES512' } })],
]

const ORDER = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex')
const SIZES = { EdDSA: 64, ES256: 64, ES512: 132, RS256: 256, PS256: 256 }
const withSignature = (alg: Algorithm, bytes: Buffer) => pk(alg, { signer: () => bytes })
const bytes = Buffer.from(signature, 'base64url')
const signatures: Row[] = [
  ...each(ALGORITHMS, (alg) => [`${alg} by a stranger's key`, pk(alg, { pairs: theirKeys })]),
  ...each(ALGORITHMS, (alg) => [
    `${alg} by a stranger's key, no kid`,
    pk(alg, { pairs: theirKeys, header: { kid: undefined } }),
  ]),
  ...each(ALGORITHMS, (alg) => [`${alg}, zeros`, withSignature(alg, Buffer.alloc(SIZES[alg]))]),
  ...each(ALGORITHMS, (alg) => [`${alg}, one byte`, withSignature(alg, Buffer.of(0))]),
  ['ES256, r and s the order of the curve', withSignature('ES256', Buffer.concat([ORDER, ORDER]))],
  ['ES256, zeros as DER', withSignature('ES256', Buffer.from('3006020100020100', 'hex'))],
  ['ES256 in DER', pk('ES256', { signer: (input, key) => sign('sha256', input, key) })],
  [
    'ES256, a byte more',
    pk('ES256', { signer: (...on) => Buffer.concat([signers.ES256(...on), Buffer.of(0)]) }),
  ],
  ['EdDSA, neutral point', withSignature('EdDSA', Buffer.concat([Buffer.of(1), Buffer.alloc(63)]))],
  ['RS256, the number one', withSignature('RS256', Buffer.concat([Buffer.alloc(255), Buffer.of(1)]))],
  ['RS256, a byte less', pk('RS256', { signer: (...on) => signers.RS256(...on).subarray(1) })],
  ['HS256, zeros', `${head}.${body}.${encode(Buffer.alloc(32))}`],
  ['signature empty', `${head}.${body}.`],
  ['signature of another payload', `${head}.${body}.${withClaims({ sub: 'alice' }).split('.')[2]}`],
  ['signature of another header', `${head}.${body}.${withHeader({ typ: 'at+jwt' }).split('.')[2]}`],
  ['payload changed', `${head}.${encode(claims({ sub: 'alice' }))}.${signature}`],
  ['header changed', `${encode({ ...HS256, kid: 'x' })}.${body}.${signature}`],
  ['signature cut by a character', good.slice(0, -1)],
  ['signature cut to half', `${head}.${body}.${encode(bytes.subarray(0, 16))}`],
  ['signature twice', `${good}${signature}`],
  ['signature a byte longer', `${head}.${body}.${encode(Buffer.concat([bytes, Buffer.of(0)]))}`],
  ['signature encoded twice', `${head}.${body}.${encode(signature)}`],
  ['signature in hex', `${head}.${body}.${bytes.toString('hex')}`],
  ['signature not canonical', `${head}.${body}.${nonCanonical(signature)}`],
]

const plain = Buffer.from(JSON.stringify(claims({ name: '???>>>' }))).toString('base64')
const forms: Row[] = [
  ...each(words('. .. ... a.b.c x % -._ 🎫 é.é.é \u0000'), (text) => [`only ${show(text)}`, text]),
  ['one part', head],
  ['two parts', `${head}.${body}`],
  ['four parts', `${good}.${signature}`],
  ['dot at the end', `${good}.`],
  ['dot in front', `.${good}`],
  ['header empty', hmac(`.${body}`)],
  ['payload empty', hmac(`${head}.`)],
  [
    'JWE of five parts',
    `${encode({ alg: 'dir', enc: 'A256GCM' })}..${'A'.repeat(16)}.AAAA.${'A'.repeat(22)}`,
  ],
  ['JWE header on three parts', withHeader({ alg: 'dir', enc: 'A256GCM' })],
  ['JSON serialization', JSON.stringify({ protected: head, payload: body, signature })],
  ['dots escaped', good.replaceAll('.', '%2E')],
  ['header padded', hmac(`${head}=.${body}`)],
  ['payload padded', hmac(`${head}.${uneven}==`)],
  ['signature padded', `${good}=`],
  ['payload not canonical', hmac(`${head}.${nonCanonical(uneven)}`)],
  ['payload in plain base64', hmac(`${head}.${plain}`)],
  ['payload with a line break', hmac(`${head}.${body.slice(0, 8)}\n${body.slice(8)}`)],
  ['payload with a space', hmac(`${head}.${body.slice(0, 8)} ${body.slice(8)}`)],
  ['payload with a character too many', hmac(`${head}.${uneven.slice(0, -2)}A`)],
  ['NUL at the end', `${good}\u0000`],
  ['full-width dot', good.replace('.', '．')],
  ['too long', withClaims({ name: 'x'.repeat(8192) })],
  ['a megabyte', 'x'.repeat(2 ** 20)],
  ['100,000 dots', '.'.repeat(100_000)],
]

/** Claims, and a header too, with a name that is not UTF-8. */
function malformed(name: number[]): Buffer {
  const claim = Buffer.from(JSON.stringify(claims({ alg: 'HS256', name: '?'.repeat(name.length) })))
  claim.set(name, claim.indexOf('?'))
  return claim
}
const NOT_OBJECTS: Part[] = [
  ...words(`null true 0 "mallory" [] [${JSON.stringify(claims())}] { {}x {'sub':'mallory'}`),
  '',
  `{"alg":"HS256","sub":"mallory","exp":${now + 3600},}`,
  `\ufeff${JSON.stringify(claims({ alg: 'HS256' }))}`,
  '['.repeat(3000),
  ...[[0xff], [0xc1, 0xaf], [0xed, 0xa0, 0x80], [0xe2, 0x82]].map(malformed),
]
const json: Row[] = [
  ...each([...NOT_OBJECTS.entries()], ([i, part]) => [`payload ${i} ${show(part.toString())}`, hs(part)]),
  ...each([...NOT_OBJECTS.entries()], ([i, part]) => [
    `header ${i} ${show(part.toString())}`,
    hs(claims(), part),
  ]),
  ['header {}', hs(claims(), {})],
  ['alg twice, none last', hs(claims(), '{"alg":"HS256","alg":"none"}')],
  ['alg twice, escaped none last', hs(claims(), '{"alg":"HS256","\\u0061lg":"none"}')],
  ['typ twice, logout last', hs(claims(), '{"alg":"HS256","typ":"JWT","typ":"logout+jwt"}')],
  ['exp twice, expired last', raw(`"exp":${now + 3600},"exp":${now - 3600}`), 'token_expired'],
  ['sub twice, number last', raw(`"exp":${now + 3600},"sub":1`)],
  ['claims under __proto__', hs(`{"__proto__":${JSON.stringify(claims())}}`)],
]

const KEY_URL = `${attacker.origin}/jwks`
const stranger = (changed: object, alg: Algorithm = 'RS256') => pk(alg, { pairs: theirKeys, header: changed })
const EMBEDDED = (alg: Algorithm) => ({
  jwk: { jwk: jwkOf(alg, theirKeys) },
  'jwk and no kid': { jwk: jwkOf(alg, theirKeys), kid: undefined },
  jku: { jku: KEY_URL },
  'jku and an unknown kid': { jku: KEY_URL, kid: 'new' },
  x5u: { x5u: KEY_URL },
  x5c: { x5c: [theirKeys[alg].publicKey.export({ type: 'spki', format: 'der' }).toString('base64')] },
})
const SQL = "x' union select 'key' --"
const KEY_IDS = words(`../../../../dev/null /dev/null file:///dev/null |/usr/bin/true ${KEY_URL} __proto__`)
const NOT_KEY_IDS: unknown[] = [null, 0, 1, true, [], ['EdDSA'], {}, { EdDSA: 1 }]
const EXTENSIONS: object[] = [
  ...[[], ['exp'], ['x'], null, 'b64', {}].map((crit) => ({ crit, exp: now, x: 1 })),
  ...[true, false].map((b64) => ({ b64, crit: ['b64'] })),
  ...[true, false, null].map((b64) => ({ b64 })),
  ...['DEF', null].map((zip) => ({ zip })),
  ...['A128GCM', null].map((enc) => ({ enc })),
  ...['JWT', 'json', '', null].map((cty) => ({ cty })),
]
const NOT_TYPES: unknown[] = ['JWT ', 'JWT\u0000', '', null, 1, true, ['JWT'], {}]
const TYPES: unknown[] = [
  ...words(
    'better-auth.session-cache+jwt logout+jwt dpop+jwt id_token+jwt rt+jwt secevent+jwt kb+jwt JWE JOSE',
  ),
  ...words('dc+sd-jwt oauth-authz-req+jwt token-introspection+jwt client-authentication+jwt JWTX'),
  ...NOT_TYPES,
]
const UNENCODED = `${encode({ ...HS256, b64: false, crit: ['b64'] })}.${JSON.stringify(claims())}`
const headers: Row[] = [
  ...ALGORITHMS.flatMap((alg) =>
    each(Object.entries(EMBEDDED(alg)), ([name, header]) => [
      `stranger's ${alg}, ${name}`,
      stranger(header, alg),
    ]),
  ),
  ['embedded oct jwk', hs(claims(), { ...HS256, jwk: { kty: 'oct', k: encode('x') } }, 'x')],
  ['jku that starts like the issuer', stranger({ jku: `${issuer.origin}@${KEY_URL.slice(7)}`, kid: 'new' })],
  ["iss the stranger's", pk('RS256', { pairs: theirKeys, payload: issued({ iss: attacker.origin }) })],
  ...each([...KEY_IDS, SQL, '', '\u0000'], (kid) => [
    `kid ${show(kid)}, HMAC with nothing`,
    hs(claims(), { ...HS256, kid }, ''),
  ]),
  ['kid as SQL, HMAC with its answer', hs(claims(), { ...HS256, kid: SQL }, 'key')],
  ...each(
    ['', 'eddsa', 'EdDSA ', 'EdDSA\u0000', '../EdDSA', '0', SQL, '__proto__', 'x'.repeat(4000)],
    (kid) => [`kid ${show(kid)} instead of EdDSA`, pk('EdDSA', { header: { kid } })],
  ),
  ...each(NOT_KEY_IDS, (kid) => [`kid ${show(kid)}, EdDSA`, pk('EdDSA', { header: { kid } })]),
  ...each(NOT_KEY_IDS, (kid) => [`kid ${show(kid)}, HS256`, withHeader({ kid })]),
  ...each(EXTENSIONS, (header) => [`header ${show(header)}`, withHeader(header)]),
  ['payload not encoded, as RFC 7797 has it', hmac(UNENCODED)],
  ['payload deflated', hs(deflateRawSync(JSON.stringify(claims())), { ...HS256, zip: 'DEF' })],
  ['token within a token', hs(good, { ...HS256, cty: 'JWT' })],
  ...each(TYPES, (typ) => [`typ ${show(typ)}`, withHeader({ typ })]),
  ...each(TYPES, (typ) => [`typ ${show(typ)}, EdDSA`, pk('EdDSA', { header: { typ } })]),
]

const NOT_EXPIRIES: unknown[] = [
  undefined,
  null,
  '',
  `${now + 3600}`,
  'tomorrow',
  true,
  [now + 3600],
  {},
  -1,
  -1e300,
]
const NOT_STARTS: unknown[] = [-1, `${now}`, '', null, true, [now], {}]
const times: Row[] = [
  ...each(NOT_EXPIRIES, (exp) => [`exp ${show(exp)}`, withClaims({ exp })]),
  ...each(words('1e400 -1e400 NaN Infinity 0x7fffffff 9999999999n 1e +9999999999'), (exp) => [
    `exp ${exp} as it stands`,
    raw(`"exp":${exp}`),
  ]),
  ...each([31, 61, 3600, now, now - 0.5], (age) => [
    `exp ${age} s ago`,
    withClaims({ exp: now - age }),
    'token_expired',
  ]),
  ['exp 1 h ago, EdDSA', pk('EdDSA', { payload: issued({ exp: now - 3600 }) }), 'token_expired'],
  ...words('nbf iat').flatMap((claim) => [
    ...each(NOT_STARTS, (value) => [`${claim} ${show(value)}`, withClaims({ [claim]: value })]),
    ...each([31, 61, 3600, 1e300], (ahead) => [
      `${claim} in ${ahead} s`,
      withClaims({ [claim]: now + ahead }),
    ]),
    ...each([61], (ahead) => [`${claim}, EdDSA`, pk('EdDSA', { payload: issued({ [claim]: now + ahead }) })]),
  ]),
]

const INVISIBLE = {
  'a space': ' ',
  'a space inside': 'mal lory',
  'a space at the end': 'mallory ',
  'a line break': 'mallory\n',
  'a tab': 'mal\tlory',
  NUL: 'mallory\u0000',
  DEL: 'mallory\u007f',
  'a no-break space': 'mallory\u00a0',
  'a soft hyphen': 'mal\u00adlory',
  'a zero-width space': 'mal\u200blory',
  'a zero-width joiner': 'mal\u200dlory',
  'a right-to-left override': '\u202eyrollam',
  'a line separator': 'mal\u2028lory',
  'a word joiner': 'mal\u2060lory',
  'a byte order mark': '\ufeffmallory',
  'a tag': 'mallory\u{e0001}',
  'a private character': 'mallory\ue000',
  'an unassigned character': 'mallory\u0378',
  'half a surrogate pair': 'mallory\ud800',
  'a Hangul filler': 'mallory\u3164',
  'a Hangul initial filler': 'mallory\u115f',
  'a half-width Hangul filler': 'mallory\uffa0',
  'a grapheme joiner': 'mal\u034flory',
  'a variation selector': 'mallory\ufe0f',
  'a Khmer inherent vowel': 'mallory\u17b4',
  'an empty braille pattern': 'mallory\u2800',
}
const NOT_SUBJECTS: unknown[] = [
  '',
  0,
  1,
  true,
  false,
  [],
  ['mallory'],
  {},
  { sub: 'mallory' },
  'x'.repeat(256),
]
const OTHERS: unknown[] = ['alice', 'Mallory', 'mallory ', 'mallor', '', 0, false, ['mallory'], {}]
const session = { session: { userId: 'mallory' }, user: { id: 'mallory' } }
const subjects: Row[] = [
  ...each<[string, object]>(
    [
      ['no subject', { sub: undefined }],
      ['subject null', { sub: null }],
      ['three subjects null', { sub: null, user_id: null, id: null }],
      ['subject under another name', { sub: undefined, Sub: 'mallory', userId: 'mallory', uid: 'mallory' }],
      ['a mail link of Better Auth', { sub: undefined, email: 'mallory@example.com' }],
      ['a session cookie of Better Auth', { sub: undefined, ...session }],
    ],
    ([name, changed]) => [name, withClaims(changed), 'missing_user_id'],
  ),
  ['no subject, EdDSA', pk('EdDSA', { payload: issued({ sub: undefined }) }), 'missing_user_id'],
  ...words('sub user_id id').flatMap((claim) =>
    each(NOT_SUBJECTS, (value) => [
      `${claim} ${show(value)}`,
      withClaims({ sub: undefined, [claim]: value }),
    ]),
  ),
  ...each(Object.entries(INVISIBLE), ([name, sub]) => [`sub with ${name}`, withClaims({ sub })]),
  ...words('user_id id').flatMap((claim) =>
    each(OTHERS, (value) => [`sub mallory, ${claim} ${show(value)}`, withClaims({ [claim]: value })]),
  ),
  ['user_id and id differ', withClaims({ sub: null, user_id: 'alice', id: 'mallory' })],
  ['sub "1", id 1', withClaims({ sub: '1', id: 1 })],
  ['the same array thrice', withClaims({ sub: ['a'], user_id: ['a'], id: ['a'] })],
  ['sub and user_id that look alike', withClaims({ sub: 'm\u00e9', user_id: 'me\u0301' })],
]

const { origin } = issuer
const NO_PARTIES: unknown[] = [
  undefined,
  null,
  '',
  1,
  true,
  {},
  { [origin]: 1 },
  [],
  [[origin]],
  [`${origin}/`],
]
const PARTIES = [
  `${origin}/`,
  `${origin}/api/auth`,
  `x${origin}`,
  `${origin},x`,
  origin.toUpperCase(),
  '*',
  '.*',
]
const STRANGERS = [...NO_PARTIES, ...PARTIES, attacker.origin]
const parties: Row[] = [
  ...each([...STRANGERS, [origin]], (iss) => [`iss ${show(iss)}`, pk('EdDSA', { payload: issued({ iss }) })]),
  ...each(STRANGERS, (aud) => [`aud ${show(aud)}`, pk('EdDSA', { payload: issued({ aud }) })]),
]

const hostile = [algorithms, confusion, signatures, forms, json, headers, times, subjects, parties].flat()

const DETAILS: Record<string, string> = {
  missing_token: 'Missing token',
  invalid_token: 'Invalid token',
  token_expired: 'Token expired',
  missing_user_id: 'Invalid token: missing user_id',
}

interface Answer {
  statusCode?: number
  headers: IncomingMessage['headers'] | Record<string, unknown>
  body: string
}

function refusal({ statusCode, headers, body }: Answer) {
  const { status, code, detail, request_id } = JSON.parse(body)
  const [, error] = /^Bearer realm="[^"]+"(?:, error="(\w+)".*)?$/.exec(
    String(headers['www-authenticate']),
  ) ?? [0, 'none']
  return {
    statusCode,
    status,
    type: headers['content-type'],
    code,
    detail,
    error,
    id: request_id === headers['x-request-id'],
  }
}

const refused = (code = 'invalid_token') => ({
  statusCode: 401,
  status: 401,
  type: 'application/problem+json; charset=utf-8',
  code,
  detail: DETAILS[code],
  error: code === 'missing_token' ? undefined : 'invalid_token',
  id: true,
})

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const secretOnly = {}
const keySetOnly = { BETTER_AUTH_SECRET: undefined, BETTER_AUTH_URL: origin }
const both = { BETTER_AUTH_URL: origin }

/** The app, and how often it has turned to the database. */
async function buildCounted(t: Test, options: BuildOptions) {
  const db = await database()
  let statements = 0
  const counting = new Proxy(db, {
    get(target, name) {
      const value = target[name as keyof Database]
      if (typeof value === 'function') statements++
      return value
    },
  })
  const app = await build(t, { ...options, database: counting })
  statements = 0
  return { app, statements: () => statements }
}

async function me(app: App, token: string) {
  const response = await app.inject({ url: '/me', headers: bearer(token) })
  return response.statusCode === 200 ? response.json() : response.json().code
}

t.test(`${hostile.length} hostile tokens are refused without a statement or a request`, async (t) => {
  t.ok(hostile.length >= 120)
  t.equal(new Set(hostile.map(([name]) => name)).size, hostile.length, 'each has a name of its own')
  const { app, statements } = await buildCounted(t, { env: both })
  for (const token of [good, pk('EdDSA')]) {
    t.equal(
      (await app.inject({ url: '/todos', headers: bearer(token) })).statusCode,
      200,
      'what they are made of is good',
    )
  }
  t.equal(statements(), 2)

  const fetches = issuer.requests.length
  for (const [name, token, code] of hostile) {
    const response = await app.inject({ url: '/todos', headers: bearer(token) })
    t.same(refusal(response), refused(code), name)
  }
  t.equal(statements(), 2, 'no statement was run')
  t.same(attacker.requests, [], 'no address out of a token was asked')
  t.equal(issuer.requests.length, fetches, 'the issuer was not asked again')
})

for (const [name, env] of Object.entries({ secretOnly, keySetOnly })) {
  t.test(`hostile tokens are refused with ${name} too`, async (t) => {
    const { app, statements } = await buildCounted(t, { env })
    const fetches = issuer.requests.length
    const [own, other] = name === 'secretOnly' ? [good, pk('EdDSA')] : [pk('EdDSA'), good]
    t.match(await me(app, own), { user_id: 'mallory' })
    t.equal(await me(app, other), 'invalid_token')
    for (const [name, token] of hostile) {
      const response = await app.inject({ url: '/todos', headers: bearer(token) })
      t.same(refusal(response), refused(response.json().code), name)
    }
    t.equal(statements(), 0)
    t.same(attacker.requests, [])
    t.ok(issuer.requests.length - fetches <= 1)
  })
}

/** Over a socket, since there the headers are as a client sends them. */
function get(port: number, values: string[], path = '/todos'): Promise<Answer> {
  const lines = values.flatMap((value, i) => [i % 2 ? 'authorization' : 'Authorization', value])
  return new Promise((resolve, reject) => {
    const headers = ['Host', 'localhost', ...lines]
    httpRequest({ host: '127.0.0.1', port, path, headers, agent: false }, async (response) => {
      const body = (await response.toArray()).join('')
      resolve({ statusCode: response.statusCode, headers: response.headers, body })
    })
      .on('error', reject)
      .end()
  })
}
const utf8 = (text: string) => Buffer.from(text).toString('latin1')

t.test('odd Authorization headers are refused', async (t) => {
  const { app, statements } = await buildCounted(t, { env: both })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo

  for (const value of [
    `Bearer ${good}`,
    `bearer ${good}`,
    `BEARER ${good}`,
    `bEaReR  ${good}`,
    ` Bearer ${good} `,
  ]) {
    t.equal((await get(port, [value], '/me')).statusCode, 200, value)
  }

  const missing = {
    none: [],
    empty: [''],
    'the scheme alone': ['Bearer'],
    'the scheme and a space': ['Bearer '],
    'no scheme': [good],
    Basic: ['Basic bWFsbG9yeTpwYXNzd29yZA=='],
    'Basic with the token': [`Basic ${good}`],
    Token: [`Token ${good}`],
    JWT: [`JWT ${good}`],
    DPoP: [`DPoP ${good}`],
    'a longer scheme': [`Bearers ${good}`],
    'a colon': [`Bearer: ${good}`],
    'an equals sign': [`Bearer=${good}`],
    'a comma': [`Bearer,${good}`],
    'quotes around all': [`"Bearer ${good}"`],
    'another scheme first': [`Basic bWFsbG9yeQ==, Bearer ${good}`],
    'a tab': [`Bearer\t${good}`],
    'a no-break space': [`Bearer\u00a0${good}`],
    'a Cyrillic letter': [utf8(`Веarer ${good}`)],
    'full-width letters': [utf8(`Ｂｅａｒｅｒ ${good}`)],
  }
  const invalid = {
    'two tokens': [`Bearer ${good} ${good}`],
    'the scheme twice': [`Bearer Bearer ${good}`],
    'a tab between two tokens': [`Bearer ${good}\t${good}`],
    'a list of tokens': [`Bearer ${good},${good}`],
    'a list of credentials': [`Bearer ${good}, Bearer ${good}`],
    'another scheme after': [`Bearer ${good}, Basic bWFsbG9yeQ==`],
    'a comma after': [`Bearer ${good},`],
    'a semicolon after': [`Bearer ${good};`],
    'quotes around the token': [`Bearer "${good}"`],
    'angle brackets': [`Bearer <${good}>`],
    'a parameter': [`Bearer token=${good}`],
    null: ['Bearer null'],
    undefined: ['Bearer undefined'],
    object: ['Bearer [object Object]'],
    'a no-break space after': [`Bearer ${good}\u00a0`],
    'a no-break space before': [`Bearer \u00a0${good}`],
    'a zero-width space after': [utf8(`Bearer ${good}\u200b`)],
    'a letter of Latin-1': [`Bearer ${good}\u00e9`],
    'two headers, the same token': [`Bearer ${good}`, `Bearer ${good}`],
    'two headers, a bad token last': [`Bearer ${good}`, 'Bearer x'],
    'two headers, a bad token first': ['Bearer x', `Bearer ${good}`],
    'two headers, Basic last': [`Bearer ${good}`, 'Basic bWFsbG9yeQ=='],
    'two headers, Basic first': ['Basic bWFsbG9yeQ==', `Bearer ${good}`],
    'two headers, one empty': ['', `Bearer ${good}`],
  }
  for (const [code, rows] of Object.entries({ missing_token: missing, invalid_token: invalid })) {
    for (const [name, values] of Object.entries(rows)) {
      t.same(refusal(await get(port, values)), refused(code), name)
    }
  }
  t.equal(statements(), 0)
})

t.test('a token anywhere but in the Authorization header is no token', async (t) => {
  const { app, statements } = await buildCounted(t, { env: both })
  const post = { method: 'POST', url: '/todos' } as const
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  for (const request of [
    { url: `/todos?access_token=${good}` },
    { url: `/todos?token=${good}&jwt=${good}` },
    { url: `/todos?authorization=Bearer%20${good}` },
    {
      url: '/todos',
      headers: { cookie: `token=${good}; access_token=${good}; better-auth.session_token=${good}` },
    },
    { url: '/todos', headers: { 'proxy-authorization': `Bearer ${good}` } },
    { url: '/todos', headers: { 'x-access-token': good, 'x-authorization': `Bearer ${good}` } },
    { url: '/todos', headers: { 'sec-websocket-protocol': `bearer, ${good}` } },
    { ...post, payload: { title: 'x', access_token: good, token: good } },
    { ...post, headers: form, payload: `title=x&access_token=${good}` },
  ]) {
    t.same(refusal(await app.inject(request)), refused('missing_token'), JSON.stringify(request).slice(0, 60))
  }
  t.equal(statements(), 0)
})

const user = (user_id: string, email: string | null = null) => ({ user_id, email, authenticated: true })

t.test('good tokens say who the user is', async (t) => {
  const { app, statements } = await buildCounted(t, { env: both })
  const none = { sub: undefined }

  t.same(await me(app, hs()), user('mallory'), 'sub')
  t.same(await me(app, withClaims({ ...none, user_id: 'ann' })), user('ann'), 'user_id')
  t.same(await me(app, withClaims({ ...none, id: 'ann' })), user('ann'), 'id')
  t.same(await me(app, withClaims({ sub: 'ann', user_id: 'ann' })), user('ann'))
  t.same(await me(app, withClaims({ sub: 'ann', user_id: 'ann', id: 'ann' })), user('ann'))
  t.same(await me(app, withClaims({ email: 'm@example.com' })), user('mallory', 'm@example.com'))
  t.same(await me(app, withClaims({ email: ['m@example.com'] })), user('mallory'), 'an e-mail is a string')
  for (const sub of [
    'x',
    'x'.repeat(255),
    'rMGRY14tPdnDx0704nNR7CJ98OadRhdg',
    'ann@example.com',
    'josé',
    '山田',
    '-1',
    'null',
    '__proto__',
  ]) {
    t.same(await me(app, withClaims({ sub })), user(sub))
  }
  t.same(await me(app, raw(`"exp":${now + 3600},"sub":"ann"`)), user('ann'), 'of two names the last wins')
  t.same(await me(app, hs(claims(), '{"alg":"none","alg":"HS256"}')), user('mallory'))

  for (const alg of ALGORITHMS) {
    t.same(await me(app, pk(alg, { payload: issued({ sub: alg }) })), user(alg), alg)
    t.same(
      await me(app, pk(alg, { header: { kid: undefined } })),
      user('mallory'),
      `${alg}, the only such key`,
    )
  }
  t.same(await me(app, pk('ES256', { payload: issued({ aud: ['other', origin] }) })), user('mallory'))
  t.same(
    await me(app, pk('ES256', { header: { jku: KEY_URL, jwk: jwkOf('ES256', theirKeys) } })),
    user('mallory'),
  )
  t.same(attacker.requests, [])

  for (const typ of [undefined, 'JWT', 'jwt', 'at+jwt', 'AT+JWT', 'application/at+jwt']) {
    t.same(await me(app, withHeader({ typ })), user('mallory'), `typ ${typ}`)
  }
  t.same(await me(app, withHeader({ kid: 'any' })), user('mallory'), 'a kid does not choose a secret')
  t.equal(statements(), 0, 'who someone is takes no statement')
})

t.test('clocks may differ by less than 30 s', async (t) => {
  const app = await build(t)
  for (const seconds of [0, 5, 29]) {
    for (const changed of [{ exp: now - seconds }, { nbf: now + seconds }, { iat: now + seconds }]) {
      t.match(
        await me(app, withClaims(changed)),
        { user_id: 'mallory' },
        `${Object.keys(changed)[0]} off by ${seconds} s`,
      )
    }
  }
  for (const seconds of [31, 61, 3600]) {
    t.equal(await me(app, withClaims({ exp: now - seconds })), 'token_expired')
    t.equal(await me(app, withClaims({ nbf: now + seconds })), 'invalid_token')
    t.equal(await me(app, withClaims({ iat: now + seconds })), 'invalid_token')
  }
})

t.test('JWT_ISSUER and JWT_AUDIENCE hold for every token', async (t) => {
  const app = await build(t, {
    env: { ...both, JWT_ISSUER: 'https://id.example.com', JWT_AUDIENCE: 'tasks' },
  })
  const right = { iss: 'https://id.example.com', aud: 'tasks' }
  for (const [name, token] of Object.entries({
    HS256: (changed: object) => withClaims({ ...right, ...changed }),
    EdDSA: (changed: object) => pk('EdDSA', { payload: issued({ ...right, ...changed }) }),
  })) {
    t.match(await me(app, token({})), { user_id: 'mallory' }, name)
    t.match(await me(app, token({ aud: ['tasks', 'x'] })), { user_id: 'mallory' }, name)
    for (const changed of [
      { iss: origin },
      { aud: origin },
      { iss: undefined },
      { aud: undefined },
      { aud: 'Tasks' },
      { aud: 'task' },
    ]) {
      t.equal(await me(app, token(changed)), 'invalid_token', `${name} ${show(changed)}`)
    }
  }
})

const signedWith = (secret: string) => hs(claims(), HS256, secret)

t.test('secrets are rotated', async (t) => {
  const OLD = 'w8Nc3Zr6Ty1Ub5Vm9Xk2Lp7Qs4Hd0JfE'
  const NEW = 'e5Rt2Yb8Un1Mi6Ok3Lp9Zx4Cv7Qw0SaD'
  for (const BETTER_AUTH_SECRETS of [`2:${NEW},1:${OLD}`, `${NEW},${OLD}`, `2:${NEW}, 1:${OLD}`]) {
    const app = await build(t, { env: { BETTER_AUTH_SECRET: undefined, BETTER_AUTH_SECRETS } })
    t.match(await me(app, signedWith(NEW)), { user_id: 'mallory' }, 'new')
    t.match(await me(app, signedWith(OLD)), { user_id: 'mallory' }, 'old')
    t.equal(await me(app, signedWith(SECRET)), 'invalid_token', 'one that is not listed')
    for (const list of [BETTER_AUTH_SECRETS, `2:${NEW}`, `1:${OLD}`])
      t.equal(await me(app, signedWith(list)), 'invalid_token', 'the list and its entries are no secrets')
  }
  for (const BETTER_AUTH_SECRETS of [`2:${NEW}`, NEW]) {
    const app = await build(t, { env: { BETTER_AUTH_SECRET: undefined, BETTER_AUTH_SECRETS } })
    t.match(await me(app, signedWith(NEW)), { user_id: 'mallory' })
    t.equal(await me(app, signedWith(OLD)), 'invalid_token', 'removed')
  }
  const app = await build(t, { env: { BETTER_AUTH_SECRETS: NEW } })
  for (const secret of [NEW, SECRET])
    t.match(await me(app, signedWith(secret)), { user_id: 'mallory' }, 'beside BETTER_AUTH_SECRET')
})
