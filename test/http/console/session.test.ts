// People with a session over a real socket and a real store: how a one-time link begins one, how long it lasts, which
// requests it is good for, and what each role may do.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Role } from '../../../src/http/caller.ts'
import { Sessions } from '../../../src/http/console/sessions.ts'
import { leaseEndpoints } from '../../../src/http/leases.ts'
import { revocationEndpoints } from '../../../src/http/revocations.ts'
import { openEmbedded } from '../../../src/stores/embedded.ts'
import { adminToken, Browser, startTestConsole, type TestConsole, tokenOf } from '../../support/console.ts'

let console: TestConsole
let browser: Browser

beforeAll(async () => {
  console = await startTestConsole(
    { roles: { operator: ['group:sre'], auditor: ['group:audit'], admin: ['group:root'] } },
    ({ store, clock }) => {
      const observer = { changed: () => {}, ordered: () => {} }
      const orders = { store, observer, clock }
      const around = (now: number) => ({
        ...{ backends: [], rates: {}, detectionSeconds: 900, now },
        assumedRate: { count: 600, periodMs: 60_000, burst: 600 },
      })
      return [...revocationEndpoints(orders), ...leaseEndpoints({ ...orders, around })]
    },
  )
})
afterAll(() => console.close())
beforeEach(async () => {
  console.state.ahead = 0
  console.told.length = 0
  browser = await console.signedIn({ user: 'alice@example.com', groups: ['sre'] })
})

const codeOf = async (answer: Response) => [answer.status, ((await answer.json()) as { code: string }).code]
const order = { lease: 'lse_1', reason: 'leaked' }
const asAdmin = { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' }
const makeLink = (body: string, headers: Record<string, string> = asAdmin) =>
  fetch(`${console.url}/console/links`, { method: 'POST', headers, body })

describe('a one-time link', () => {
  test('signs in whom it is for, and says who made it', async () => {
    expect(await browser.learn()).toMatchObject({
      user: 'alice@example.com',
      groups: ['sre'],
      roles: ['approver', 'operator'],
      sign_in: 'link',
    })
    const [made, came] = console.told
    expect(made).toEqual([
      'linkMade',
      { user: 'alice@example.com', groups: ['sre'], roles: [] },
      'admin',
      '127.0.0.1',
    ])
    expect(came?.[0]).toBe('signedIn')
    expect(JSON.stringify(console.told)).not.toContain(browser.session)
  })

  test('is left as it is by whoever only looks at it', async () => {
    const link = await console.link({ user: '<b>"mallory"</b>' })
    for (let look = 0; look < 3; look++) {
      const page = await fetch(link)
      expect(page.headers.getSetCookie()).toEqual([])
      expect(await page.text()).toContain('Sign in as &lt;b&gt;&quot;mallory&quot;&lt;/b&gt;')
    }
    const own = new Browser(console.url)
    const token = new URL(link).searchParams.get('token')!
    const answer = await own.post('/console/link', { token })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/console'])
  })

  test('works once, of ten tries at once', async () => {
    const token = new URL(await console.link()).searchParams.get('token')!
    const tries = Array.from({ length: 10 }, () => new Browser(console.url).post('/console/link', { token }))
    const statuses = (await Promise.all(tries)).map(({ status }) => status)
    expect(statuses.toSorted()).toEqual([303, ...Array.from({ length: 9 }, () => 403)])
  })

  test('works for ten minutes', async () => {
    const token = new URL(await console.link()).searchParams.get('token')!
    console.state.ahead = 601
    const answer = await new Browser(console.url).post('/console/link', { token })
    expect([answer.status, answer.headers.getSetCookie()]).toEqual([403, []])
    expect((await fetch(`${console.url}/console/link?token=${token}`)).status).toBe(403)
  })

  test.each(['', 'x', 'A'.repeat(200)])('that nobody made, %o, has a page that says so', async (token) => {
    for (const answer of [
      await fetch(`${console.url}/console/link?token=${token}`),
      await new Browser(console.url).post('/console/link', { token }),
    ]) {
      expect(answer.status).toBe(403)
      expect(await answer.text()).toContain('does not work any more')
    }
  })

  test.each([
    ['another site', { origin: 'https://evil.example' }],
    ['a sandboxed page', { origin: 'null' }],
    ['another site, as the browser says', { 'sec-fetch-site': 'cross-site' }],
    ['a neighbour', { 'sec-fetch-site': 'same-site' }],
  ])('posted by %s signs nobody in, and still works', async (_, headers) => {
    const token = new URL(await console.link()).searchParams.get('token')!
    const victim = new Browser(console.url)
    expect(await codeOf(await victim.post('/console/link', { token }, headers))).toEqual([403, 'cross_site'])
    const own = { origin: console.url, 'sec-fetch-site': 'same-origin' }
    expect((await victim.post('/console/link', { token }, own)).status).toBe(303)
  })

  const bodies = [
    ['no user', '{}', 'malformed_request'],
    ['a user that looks like a group', '{"user":"group:root"}', 'malformed_request'],
    ['a user with a line break', '{"user":"a\\nb"}', 'malformed_request'],
    ['groups that are no list', '{"user":"a","groups":"root"}', 'malformed_request'],
    ['a role that there is not', '{"user":"a","roles":["root"]}', 'malformed_request'],
    ['another member', '{"user":"a","ttl":1}', 'malformed_request'],
    ['a list', '[]', 'malformed_request'],
  ] as const
  test.each(bodies)('is not made with %s', async (_, body, code) => {
    expect(await codeOf(await makeLink(body))).toEqual([400, code])
  })

  test.each([
    ['nobody', {}, [401, 'operator_required']],
    ['an operator', { authorization: `Bearer ${tokenOf('operator')}` }, [403, 'operator_not_allowed']],
    [
      'an administrator of one tenant',
      { authorization: 'Bearer operator-token-of-acme-admin' },
      [403, 'operator_not_allowed'],
    ],
  ])('is not made for %s', async (_, headers, expected) => {
    expect(
      await codeOf(await makeLink('{"user":"a"}', { 'content-type': 'application/json', ...headers })),
    ).toEqual(expected)
  })

  test('is not made for an administrator with a session: one person could be everybody', async () => {
    const admin = await console.signedIn({ user: 'root@example.com', roles: ['admin'] })
    expect(await codeOf(await admin.order('/console/links', { user: 'a' }))).toEqual([
      403,
      'operator_not_allowed',
    ])
  })

  test('is not made where cookies would travel in the clear', async () => {
    const open = await startTestConsole({ url: 'http://console.example' })
    const answer = await fetch(`${open.url}/console/links`, {
      method: 'POST',
      headers: asAdmin,
      body: '{"user":"a"}',
    })
    expect(await codeOf(answer)).toEqual([403, 'operator_not_allowed'])
    await open.close()
  })
})

test('over https the cookie can be set by that very host alone, and never travels in the clear', async () => {
  const secure = await startTestConsole({ url: 'https://console.example' })
  const link = new URL(await secure.link())
  expect(link.origin).toBe('https://console.example')
  const answer = await fetch(`${secure.url}/console/link`, {
    method: 'POST',
    body: new URLSearchParams({ token: link.searchParams.get('token')! }),
    headers: { origin: 'https://console.example' },
    redirect: 'manual',
  })
  expect(answer.headers.getSetCookie()).toEqual([
    expect.stringMatching(
      /^__Host-leasegate=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Secure; Max-Age=28800$/,
    ),
  ])
  const page = await fetch(`${secure.url}/console/sign-in`)
  expect(page.headers.get('strict-transport-security')).toBe('max-age=31536000')
  await secure.close()
})

describe('a session ends', () => {
  const statusAfter = async (seconds: number) => {
    console.state.ahead = seconds
    return (await browser.fetch('/leases')).status
  }
  test('after half an hour in which nobody did anything', async () => {
    expect(await statusAfter(29 * 60)).toBe(200)
    expect(await statusAfter(58 * 60)).toBe(200)
    expect(await statusAfter(58 * 60 + 1801)).toBe(401)
  })
  test('after eight hours, whatever somebody does', async () => {
    for (let minutes = 0; minutes < 8 * 60; minutes += 20) expect(await statusAfter(minutes * 60)).toBe(200)
    expect(await statusAfter(8 * 3600 + 1)).toBe(401)
  })
  test('for who listens on as well, and listening does not keep it up', async () => {
    const caller = console.sessions.caller((await console.sessions.find(browser.session!))!)
    expect(await console.sessions.isSignedIn(caller)).toBe(true)
    console.state.ahead = 1_700
    expect(await console.sessions.isSignedIn(caller)).toBe(true)
    console.state.ahead = 1_801
    expect(await console.sessions.isSignedIn(caller)).toBe(false)
    console.state.ahead = 0
    await browser.order('/sign-out', {})
    expect(await console.sessions.isSignedIn(caller)).toBe(false)
  })
  test('when they sign out: everywhere, at once, and the cookie goes', async () => {
    const elsewhere = new Browser(console.url)
    elsewhere.cookies.set(console.url, new Map([['leasegate', browser.session!]]))
    expect((await elsewhere.fetch('/leases')).status).toBe(200)
    const other = await openEmbedded({ path: console.file, maxStalenessMs: 2_000 })
    const { place, clock } = console
    const process = new Sessions({ records: other.records, console: console.config, place, clock })
    expect(await process.find(browser.session!)).toMatchObject({ person: { user: 'alice@example.com' } })
    const value = browser.session!
    const answer = await browser.order('/sign-out', {})
    expect(await process.find(value)).toBeUndefined()
    await other.close()
    expect([answer.status, browser.session]).toEqual([204, undefined])
    expect(await codeOf(await elsewhere.fetch('/leases'))).toEqual([401, 'sign_in_required'])
    expect(console.told.at(-1)).toMatchObject(['signedOut', { user: 'alice@example.com' }, '127.0.0.1'])
  })
  test('when a provider takes the place of links', async () => {
    const signIn = {
      ...{ issuer: 'https://login.example', clientId: 'c', clientSecret: '', scopes: [], userClaim: 'email' },
      ...{ groupsClaim: 'groups', stepUp: { acr: [], maxAgeSeconds: 300 } },
    }
    const other = await startTestConsole({ signIn })
    const person = { user: 'alice', issuer: 'leasegate:links', subject: 'alice', groups: [] }
    const cookie = await other.sessions.begin({ person, roles: ['admin'], authTime: 1, acr: undefined })
    const answer = await fetch(`${other.url}/leases`, { headers: { cookie: cookie.split(';')[0]! } })
    expect(answer.status).toBe(401)
    await other.close()
  })
  test('and nobody can make one up', async () => {
    const stranger = new Browser(console.url)
    for (const value of ['', 'A'.repeat(43), '../../x', `${browser.session}x`]) {
      stranger.cookies.set(console.url, new Map([['leasegate', value]]))
      expect(await codeOf(await stranger.fetch('/leases'))).toEqual([401, 'sign_in_required'])
    }
  })
  test.each(['', 'x', 'null', '[]', '{}', '{"person":{"user":"root"}}', '{"roles":["admin"]}'])(
    'when its record is %o: nobody guesses who that is',
    async (text) => {
      const { id } = (await console.sessions.find(browser.session!))!
      const { records } = console.store
      const { version } = (await records.get('session', id))!
      const expiresAt = Date.now() / 1000 + 600
      await records.write([{ kind: 'session', id, expect: version, text, expiresAt, at: 1 }])
      expect(await codeOf(await browser.fetch('/leases'))).toEqual([401, 'sign_in_required'])
    },
  )
  test('what the store holds is no cookie', async () => {
    const stolen = new Browser(console.url)
    const session = await console.sessions.find(browser.session!)
    stolen.cookies.set(console.url, new Map([['leasegate', session!.id]]))
    expect((await stolen.fetch('/leases')).status).toBe(401)
  })
})

describe('a request that comes by cookie', () => {
  const send = (headers: Record<string, string>, csrf = browser.csrf) =>
    browser.fetch('/revocations', {
      method: 'POST',
      body: JSON.stringify(order),
      headers: { 'content-type': 'application/json', 'leasegate-csrf': csrf, ...headers },
    })

  test('of the console itself is served', async () => {
    expect((await send({ origin: console.url, 'sec-fetch-site': 'same-origin' })).status).toBe(201)
    expect((await send({})).status).toBe(200)
  })
  const foreign: readonly (readonly [string, Record<string, string>])[] = [
    ['of another site', { 'sec-fetch-site': 'cross-site' }],
    ['of a neighbour', { 'sec-fetch-site': 'same-site' }],
    ['of the address bar', { 'sec-fetch-site': 'none' }],
    ['with a word that nobody knows', { 'sec-fetch-site': 'Same-Origin' }],
    ['of another origin', { origin: 'https://evil.example' }],
    ['of no origin', { origin: 'null' }],
    ['of another port', { origin: 'http://127.0.0.1:1' }],
    ['of an origin that begins alike', { origin: 'http://127.0.0.1.evil.example' }],
    ['without the value', { 'leasegate-csrf': '' }],
    ['with another value', { 'leasegate-csrf': 'A'.repeat(43) }],
    ['with a value of other characters', { 'leasegate-csrf': 'é'.repeat(43) }],
  ]
  test.each(foreign)('%s is refused', async (_, headers) => {
    expect(await codeOf(await send(headers))).toEqual([403, 'cross_site'])
  })
  test('with the value of another person is refused', async () => {
    const other = await console.signedIn({ user: 'bob@example.com', groups: ['sre'] })
    expect(await codeOf(await send({}, other.csrf))).toEqual([403, 'cross_site'])
  })
  test('as a form is refused', async () => {
    expect(await codeOf(await browser.post('/revocations', { lease: 'lse_1' }))).toEqual([403, 'cross_site'])
  })
  test.each([
    ['typed into the address bar', { 'sec-fetch-site': 'none' }, 200],
    ['by the console', { 'sec-fetch-site': 'same-origin' }, 200],
    ['by a neighbour', { 'sec-fetch-site': 'same-site' }, 403],
    ['by another site', { 'sec-fetch-site': 'cross-site' }, 403],
    ['by another origin', { origin: 'https://evil.example' }, 403],
  ])('to read, %s: %o is %s', async (_, headers, status) => {
    expect((await browser.fetch('/leases', { headers })).status).toBe(status)
  })
  test('and with a token as well is ambiguous', async () => {
    const both = { authorization: `Bearer ${adminToken}` }
    expect(await codeOf(await browser.fetch('/leases', { headers: both }))).toEqual([
      400,
      'credential_ambiguous',
    ])
    expect(await codeOf(await browser.order('/revocations', order, both))).toEqual([
      400,
      'credential_ambiguous',
    ])
  })
  test('and with two sessions is ambiguous', async () => {
    const cookie = `leasegate=${browser.session}; leasegate=${'A'.repeat(43)}`
    const answer = await fetch(`${console.url}/leases`, { headers: { cookie } })
    expect(await codeOf(answer)).toEqual([400, 'credential_ambiguous'])
  })
  test('is refused while the store is gone, and good again after it', async () => {
    const answer = await console.withoutStore(() => browser.fetch('/leases'))
    expect(await codeOf(answer)).toEqual([503, 'evidence_unavailable'])
    expect((await browser.fetch('/leases')).status).toBe(200)
  })
  test('is the record of that person', async () => {
    const answer = await browser.order('/revocations', { lease: 'lse_2', reason: 'leaked' })
    expect(await answer.json()).toMatchObject({ by: 'alice@example.com' })
    const pretended = { lease: 'lse_3', reason: 'leaked', by: 'bob@example.com' }
    expect((await browser.order('/revocations', pretended)).status).toBe(400)
  })
})

test('nobody at all is told how to sign in, a program how to show its token', async () => {
  const page = await fetch(`${console.url}/leases`, { headers: { 'sec-fetch-site': 'same-origin' } })
  expect(await page.json()).toMatchObject({ code: 'sign_in_required', sign_in: '/console/sign-in' })
  expect(await codeOf(await fetch(`${console.url}/leases`))).toEqual([401, 'operator_required'])
  expect(await codeOf(await fetch(`${console.url}/me`))).toEqual([401, 'sign_in_required'])
})

test('a program is told who it is', async () => {
  const answer = await fetch(`${console.url}/me`, {
    headers: { authorization: `Bearer ${tokenOf('auditor')}` },
  })
  expect(await answer.json()).toMatchObject({ user: 'one-auditor', roles: ['auditor'], sign_in: 'token' })
})

describe('nothing of the listener is framed, sniffed or shared', () => {
  test.each(['/console/sign-in', '/console/link?token=x', '/console/callback', '/me', '/leases', '/nothing'])(
    '%s',
    async (path) => {
      const { headers } = await browser.fetch(path)
      expect(headers.get('content-security-policy')).toMatch(
        /^default-src 'none'; .*frame-ancestors 'none'(;|$)/,
      )
      expect(headers.get('content-security-policy')).not.toMatch(/unsafe|\*|https?:/)
      expect(Object.fromEntries(headers)).toMatchObject({
        'x-frame-options': 'DENY',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'same-origin',
        'cross-origin-resource-policy': 'same-origin',
        'cache-control': 'no-store',
      })
      expect(headers.get('access-control-allow-origin')).toBeNull()
    },
  )
})

describe('what each role may do, by token and by session', () => {
  const readers: Role[] = ['operator', 'auditor', 'admin']
  const changers: Role[] = ['operator', 'admin']
  const everybody: Role[] = ['approver', 'operator', 'auditor', 'admin']
  const table: readonly (readonly [string, Role[]])[] = [
    ['GET /leases', readers],
    ['GET /leases/lse_1', readers],
    ['POST /leases/lse_1/revoke', changers],
    ['POST /leases/lse_1/suspend', changers],
    ['POST /leases/lse_1/resume', changers],
    ['POST /leases/lse_1/complete', changers],
    ['POST /revocations', changers],
    ['POST /console/links', ['admin']],
    ['GET /passkeys', ['approver', 'admin']],
    ['POST /passkeys/options', ['approver', 'admin']],
    ['POST /passkeys', ['approver', 'admin']],
    ['POST /passkeys/x/remove', ['approver', 'admin']],
    ['POST /actions/act_1/challenge', ['approver', 'admin']],
    ['POST /sign-out', everybody],
    ['GET /me', everybody],
  ]
  const roles = ['approver', 'operator', 'auditor', 'admin'] as const
  const ofPeople = /^\S+ \/(passkeys|actions)/
  const rows = table.flatMap(([endpoint, allowed]) =>
    roles.map((role) => [endpoint, role, allowed.includes(role)] as const),
  )

  test.each(rows)('%s as a program that is %s: %s', async (endpoint, role, allowed) => {
    const [method, path] = endpoint.split(' ') as [string, string]
    const headers = { authorization: `Bearer ${tokenOf(role)}`, 'content-type': 'application/json' }
    const answer = await fetch(`${console.url}${path}`, {
      method,
      headers,
      ...(method === 'POST' && { body: '{}' }),
    })
    // Passkeys are of people alone.
    expect(answer.status === 403).toBe(!allowed || ofPeople.test(endpoint))
  })

  test.each(rows)('%s as a person who is %s', async (endpoint, role, allowed) => {
    const [method, path] = endpoint.split(' ') as [string, string]
    const person = await console.signedIn({ user: 'kim@example.com', roles: [role] })
    const answer = method === 'GET' ? await person.fetch(path) : await person.order(path, {})
    const { code } = answer.status === 403 ? ((await answer.json()) as { code: string }) : { code: undefined }
    // Everybody with a session is an approver; links are made by token alone.
    const may = (allowed || ofPeople.test(endpoint)) && path !== '/console/links'
    expect(code === 'operator_not_allowed').toBe(!may)
  })
})
