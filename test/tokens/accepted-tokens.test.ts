import t from 'tap'
import { build, SECRET } from '../helper/app.ts'
import { both, buildCounted, me } from './counted.ts'
import {
  ALGORITHMS,
  attacker,
  claims,
  hs,
  HS256,
  issued,
  issuer,
  jwkOf,
  KEY_URL,
  now,
  pk,
  raw,
  show,
  theirKeys,
  withClaims,
  withHeader,
} from './signing.ts'

const { origin } = issuer
const user = (user_id: string, email: string | null = null) => ({ user_id, email, authenticated: true })

t.test('good tokens say who the user is', async (t) => {
  const { app, statements } = await buildCounted(t, { env: both })
  const none = { sub: undefined }

  t.same(await me(app, hs()), user('mallory'), 'sub')
  t.same(await me(app, withClaims({ ...none, user_id: 'ann' })), user('ann'), 'user_id')
  t.same(await me(app, withClaims({ ...none, id: 'ann' })), user('ann'), 'id')
  t.same(await me(app, withClaims({ sub: 'ann', user_id: 'ann' })), user('ann'), 'sub and user_id')
  t.same(
    await me(app, withClaims({ sub: 'ann', user_id: 'ann', id: 'ann' })),
    user('ann'),
    'sub, user_id and id',
  )
  t.same(await me(app, withClaims({ email: 'm@example.com' })), user('mallory', 'm@example.com'), 'an e-mail')
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
    t.same(await me(app, withClaims({ sub })), user(sub), `sub ${sub}`)
  }
  t.same(
    await me(app, raw(`"exp":${now + 3600},"sub":"ann"`)),
    user('ann'),
    'of two equal names the last wins',
  )
  t.same(
    await me(app, hs(claims(), '{"alg":"none","alg":"HS256"}')),
    user('mallory'),
    'of two algorithms the last wins',
  )

  for (const alg of ALGORITHMS) {
    t.same(await me(app, pk(alg, { payload: issued({ sub: alg }) })), user(alg), alg)
    t.same(
      await me(app, pk(alg, { header: { kid: undefined } })),
      user('mallory'),
      `${alg}, the only such key`,
    )
  }
  t.same(
    await me(app, pk('ES256', { payload: issued({ aud: ['other', origin] }) })),
    user('mallory'),
    'one audience of several',
  )
  t.same(
    await me(app, pk('ES256', { header: { jku: KEY_URL, jwk: jwkOf('ES256', theirKeys) } })),
    user('mallory'),
    'keys in the header are ignored',
  )
  t.same(attacker.requests, [], 'no address in a header was fetched')

  for (const typ of [undefined, 'JWT', 'jwt', 'at+jwt', 'AT+JWT', 'application/at+jwt']) {
    t.same(await me(app, withHeader({ typ })), user('mallory'), `typ ${typ}`)
  }
  t.same(await me(app, withHeader({ kid: 'any' })), user('mallory'), 'a kid does not choose a secret')
  t.equal(statements(), 0, 'authentication runs no statement')
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
    t.equal(await me(app, withClaims({ exp: now - seconds })), 'token_expired', `exp ${seconds} s ago`)
    t.equal(await me(app, withClaims({ nbf: now + seconds })), 'invalid_token', `nbf in ${seconds} s`)
    t.equal(await me(app, withClaims({ iat: now + seconds })), 'invalid_token', `iat in ${seconds} s`)
  }
})

t.test('JWT_ISSUER and JWT_AUDIENCE apply to every token', async (t) => {
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
      t.equal(
        await me(app, signedWith(list)),
        'invalid_token',
        'neither the list nor a numbered entry is a secret',
      )
  }
  for (const BETTER_AUTH_SECRETS of [`2:${NEW}`, NEW]) {
    const app = await build(t, { env: { BETTER_AUTH_SECRET: undefined, BETTER_AUTH_SECRETS } })
    t.match(await me(app, signedWith(NEW)), { user_id: 'mallory' }, 'the new secret')
    t.equal(await me(app, signedWith(OLD)), 'invalid_token', 'removed')
  }
  const app = await build(t, { env: { BETTER_AUTH_SECRETS: NEW } })
  for (const secret of [NEW, SECRET])
    t.match(await me(app, signedWith(secret)), { user_id: 'mallory' }, 'together with BETTER_AUTH_SECRET')
})
