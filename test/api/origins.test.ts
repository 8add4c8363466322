import t from 'tap'
import { parseOrigins } from '../../src/origins.ts'
import { NOT_ORIGINS } from '../helper/origins.ts'

t.test('origins', async (t) => {
  const app = 'https://app.example.com'
  const preview = 'https://app-*-team.vercel.app'
  const cases: [list: string, allowed: string[], refused: string[]][] = [
    [
      app,
      [app],
      [
        '',
        'null',
        '*',
        `${app}/`,
        `${app}.`,
        `${app}.evil.com`,
        `${app}:443`,
        `${app}:8443`,
        `${app}evil.com`,
        'http://app.example.com',
        'https://example.com',
        'https://evilapp.example.com',
        'https://x.app.example.com',
        'https://APP.example.com',
        'HTTPS://app.example.com',
        'https://аpp.example.com',
        'https://xn--pp-6kc.example.com',
        'https://app.example.com@evil.com',
        'https://evil.com/https://app.example.com',
        'https://app-example.com',
      ],
    ],
    [' HTTPS://App.Example.com:443/ , ,', [app], ['HTTPS://App.Example.com:443/', `${app}:443`]],
    [
      `${app},http://localhost:3000`,
      [app, 'http://localhost:3000'],
      ['http://localhost', 'https://localhost:3000'],
    ],
    ['http://localhost:80', ['http://localhost'], ['http://localhost:80']],
    [
      'https://bücher.example',
      ['https://xn--bcher-kva.example'],
      ['https://bücher.example', 'https://bucher.example'],
    ],
    ['http://[::1]:3000', ['http://[::1]:3000'], ['http://::1:3000']],
    [
      preview,
      [
        'https://app-1-team.vercel.app',
        'https://app-git-main-x9-team.vercel.app',
        'https://app---team.vercel.app',
      ],
      [
        'null',
        preview,
        'https://app--team.vercel.app',
        'https://app-team.vercel.app',
        'https://app-1-team.vercel.app.',
        'https://app-1-team.vercel.app.evil.com',
        'https://app-1-team.vercel.app:444',
        'https://app-1-team.vercel.app/',
        'https://app-1-team.evil.app',
        'https://app-1-teams.vercel.app',
        'https://app-1-other.vercel.app',
        'https://app-x.evil-team.vercel.app',
        'https://app-evil.com/-team.vercel.app',
        'https://app-evil.com#-team.vercel.app',
        'https://app-x@evil-team.vercel.app',
        'https://app-x:1-team.vercel.app',
        'https://app-x\n-team.vercel.app',
        'https://x.app-1-team.vercel.app',
        'https://xapp-1-team.vercel.app',
        'http://app-1-team.vercel.app',
        'https://app-X-team.vercel.app',
        'https://app-é-team.vercel.app',
      ],
    ],
    ['https://*-team.vercel.app:8443', ['https://x-team.vercel.app:8443'], ['https://x-team.vercel.app']],
    [`${app},${preview}`, [app, 'https://app-1-team.vercel.app'], ['https://app-1-team.example.com']],
  ]
  for (const [list, allowed, others] of cases) {
    const matches = parseOrigins(list)
    for (const origin of allowed) t.ok(matches(origin), `${list} allows ${origin}`)
    for (const origin of others) t.notOk(matches(origin), `${list} does not allow ${origin}`)
  }

  for (const entry of [
    ...NOT_ORIGINS,
    '',
    'https://',
    '//app.example.com',
    'javascript:alert(1)',
    'file:///index.html',
    'https:app.example.com',
    'https://app.example.com?',
    'https://app.example.com#',
    'https://app.example.com:99999',
    'https://app.example.com:*',
    'http*://app.example.com',
    'https://*',
    'https://*.com',
    'https://app-*-team.com',
    'https://app-*-.vercel.app',
    'https://ü-*-team.vercel.app',
    `${preview}/path`,
    `${preview}:*`,
    'https://app.example.com https://b.example.com',
  ]) {
    t.throws(() => parseOrigins(entry), { message: /^[^\n]+$/ }, entry)
  }
  t.throws(
    () => parseOrigins(`${app},https://b.example.com/x`),
    {
      message: /"https:\/\/b\.example\.com\/x"/,
    },
    'the message names the entry',
  )
})
