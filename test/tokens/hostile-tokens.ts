import { sign, type KeyObject } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import { SECRET } from '../helper/app.ts'
import {
  type Algorithm,
  ALGORITHMS,
  attacker,
  body,
  claims,
  encode,
  good,
  head,
  hmac,
  hs,
  HS256,
  issued,
  issuer,
  jwkOf,
  KEY_URL,
  keys,
  nonCanonical,
  now,
  type Part,
  pk,
  PSS,
  raw,
  show,
  signature,
  signers,
  theirKeys,
  uneven,
  UNLISTED,
  withClaims,
  withHeader,
  words,
} from './signing.ts'

type Row = [name: string, token: string, code?: string]
const each = <T>(values: T[], row: (value: T) => Row) => values.map(row)

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

/** Claims and a header with a name that is not UTF-8. */
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

/** Each must be refused, with this code if it is not `invalid_token`. */
export const hostile = [
  algorithms,
  confusion,
  signatures,
  forms,
  json,
  headers,
  times,
  subjects,
  parties,
].flat()
