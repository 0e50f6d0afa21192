// Signing in at an OpenID Connect provider over real HTTP, with a browser that keeps cookies: who comes out, what does
// not come back twice or from elsewhere, and how a fresh sign-in goes.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Browser, startTestConsole, type TestConsole } from '../../support/console.ts'
import {
  consoleClient,
  startIdentityProvider,
  strongAcr,
  type TestProvider,
} from '../../support/identity_provider.ts'

const signInAt = (issuer: string) => ({
  issuer,
  clientId: consoleClient.id,
  clientSecret: consoleClient.secret,
  scopes: ['openid', 'email'],
  userClaim: 'email',
  groupsClaim: 'groups',
  stepUp: { acr: [strongAcr], maxAgeSeconds: 300 },
})

let idp: TestProvider
let console: TestConsole
let browser: Browser
const alice = { email: 'alice@example.com', email_verified: true, groups: ['support'] }

beforeAll(async () => {
  idp = await startIdentityProvider()
  console = await startTestConsole({
    signIn: signInAt(idp.issuer),
    roles: {
      operator: ['group:support'],
      auditor: ['group:audit', 'alice@example.com'],
      admin: ['group:root'],
    },
  })
})
afterAll(async () => {
  await console.close()
  idp.close()
})
beforeEach(() => {
  idp.account = alice
  idp.acr = undefined
  browser = new Browser(console.url)
  console.told.length = 0
})

const begin = (query = '') => browser.follow(`/console/sign-in${query}`, `${console.url}/console/callback`)
const signIn = (query = '') => browser.follow(`/console/sign-in${query}`, `${console.url}/console#`)

describe('somebody who signs in', () => {
  test('is who the provider says, with the roles of their name and their groups', async () => {
    const { at } = await begin()
    const answer = await browser.fetch(at.href)
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/console'])
    const [gone, cookie] = answer.headers.getSetCookie()
    expect(gone).toMatch(/^leasegate-sign-in=; .*Max-Age=0$/)
    expect(cookie).toMatch(/^leasegate=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=28800$/)
    expect(await browser.learn()).toEqual({
      user: 'alice@example.com',
      groups: ['support'],
      roles: ['approver', 'operator', 'auditor'],
      signed_in_at: expect.any(Number),
      acr: null,
      expires_at: expect.any(Number),
      csrf: expect.stringMatching(/^[\w-]{43}$/),
      sign_in: 'oidc',
      passkeys: 'never',
      has_passkey: false,
    })
    const person = {
      user: 'alice@example.com',
      issuer: idp.issuer,
      subject: 'usr_alice',
      groups: ['support'],
    }
    const who = { person, roles: [], authTime: 0, acr: undefined }
    expect(console.told).toEqual([['signedIn', who, 'provider', '127.0.0.1']])
  })

  test('is sent to the page that they asked for', async () => {
    const { at } = await begin('?to=/console/inbox%3Flease%3Dlse_1')
    expect((await browser.fetch(at.href)).headers.get('location')).toBe('/console/inbox?lease=lse_1')
  })

  test('goes to the provider with PKCE, a state and a nonce of their own', async () => {
    const first = new URL((await browser.fetch('/console/sign-in')).headers.get('location')!)
    const second = new URL((await browser.fetch('/console/sign-in')).headers.get('location')!)
    expect(Object.fromEntries(first.searchParams)).toMatchObject({
      response_type: 'code',
      client_id: consoleClient.id,
      redirect_uri: `${console.url}/console/callback`,
      scope: 'openid email',
      code_challenge_method: 'S256',
    })
    for (const name of ['state', 'nonce', 'code_challenge']) {
      expect(first.searchParams.get(name)).toMatch(/^[\w-]{43}$/)
      expect(first.searchParams.get(name)).not.toBe(second.searchParams.get(name))
    }
  })

  const accounts: readonly (readonly [string, Record<string, unknown>, object | number])[] = [
    ['an address that is not verified', { ...alice, email_verified: false }, 403],
    ['an address that is not verified, in text', { ...alice, email_verified: 'false' }, 403],
    ['nothing about verification', { email: 'alice@example.com', groups: [] }, { groups: [] }],
    ['no address', { groups: ['support'] }, 403],
    ['an address with a line break', { ...alice, email: 'alice@example.com\nx' }, 403],
    ['an address with a bidi control', { ...alice, email: 'alice\u202e@example.com' }, 403],
    ['an address that looks like a group', { ...alice, email: 'group:root' }, 403],
    ['a group that is one text', { ...alice, groups: 'audit' }, { groups: ['audit'] }],
    ['groups that are no texts', { ...alice, groups: [1, { a: 1 }, 'audit'] }, { groups: ['audit'] }],
    [
      'groups that are an object',
      { ...alice, groups: { root: true } },
      { groups: [], roles: ['approver', 'auditor'] },
    ],
    ['a group named like a group', { ...alice, groups: ['group:root'] }, { roles: ['approver', 'auditor'] }],
    [
      'the group of the administrators',
      { ...alice, groups: ['root'] },
      { roles: ['approver', 'auditor', 'admin'] },
    ],
    [
      'more groups than anybody needs',
      { ...alice, groups: Array.from({ length: 501 }, (_, at) => `g${at}`) },
      403,
    ],
  ]
  test.each(accounts)('with %s', async (_, account, expected) => {
    idp.account = account
    const { at } = await begin()
    const answer = await browser.fetch(at.href)
    if (typeof expected === 'number') {
      expect([answer.status, browser.session]).toEqual([expected, undefined])
      expect(console.told).toEqual([
        ['signInFailed', expect.objectContaining({ cause: expect.any(String) }), expect.any(String)],
      ])
    } else expect(await browser.learn()).toMatchObject(expected)
  })
})

describe('a provider that keeps claims at its userinfo endpoint', () => {
  test.each([
    [alice, 303],
    [{ ...alice, email_verified: false }, 403],
  ])('is asked there', async (account, status) => {
    const conform = await startIdentityProvider(undefined, { conform: true })
    const other = await startTestConsole({
      signIn: { ...signInAt(conform.issuer), groupsClaim: 'corp.teams' },
    })
    try {
      conform.account = { ...account, corp: { teams: ['a', 'b'] } }
      const own = new Browser(other.url)
      const { at } = await own.follow('/console/sign-in', `${other.url}/console/callback`)
      expect((await own.fetch(at.href)).status).toBe(status)
      if (status === 303) expect(await own.learn()).toMatchObject({ groups: ['a', 'b'], roles: ['approver'] })
    } finally {
      await other.close()
      conform.close()
    }
  })
})

test('nobody signs in under another spelling of the issuer than leases know: a requester could approve', async () => {
  const other = await startTestConsole({ signIn: signInAt(`${idp.issuer}/`) })
  try {
    const own = new Browser(other.url)
    const answer = await own.fetch('/console/sign-in')
    expect([answer.status, answer.headers.get('location')]).toEqual([503, null])
    expect(other.told).toEqual([
      [
        'signInFailed',
        expect.objectContaining({ cause: expect.stringMatching(/ISSUER/) }),
        expect.any(String),
      ],
    ])
  } finally {
    await other.close()
  }
})

describe('what comes back from the provider', () => {
  const refused = async (at: URL, from = browser) => {
    const answer = await from.fetch(at.href)
    const page = await answer.text()
    expect(page).not.toContain(at.searchParams.get('code') ?? 'no code')
    expect([answer.status, from.session]).toEqual([403, undefined])
  }

  test('is worth nothing in another browser', async () => {
    await refused((await begin()).at, new Browser(console.url))
  })
  test('is worth nothing in another browser that has begun a sign-in as well', async () => {
    const { at } = await begin()
    const other = new Browser(console.url)
    await other.fetch('/console/sign-in')
    await refused(at, other)
  })
  test('is worth nothing twice, whatever the browser brings', async () => {
    const { at } = await begin()
    const cookies = new Map(browser.cookies.get(console.url))
    expect((await browser.fetch(at.href)).status).toBe(303)
    const again = new Browser(console.url)
    again.cookies.set(console.url, cookies)
    await refused(at, again)
  })
  test('is worth nothing after ten minutes', async () => {
    const { at } = await begin()
    console.state.ahead = 601
    await refused(at).finally(() => {
      console.state.ahead = 0
    })
  })
  const alter: readonly (readonly [string, (url: URL) => void])[] = [
    ['another state', (url) => url.searchParams.set('state', 'x'.repeat(43))],
    ['no state', (url) => url.searchParams.delete('state')],
    ['two states', (url) => url.searchParams.append('state', 'x')],
    ['another code', (url) => url.searchParams.set('code', 'x'.repeat(43))],
    ['no code', (url) => url.searchParams.delete('code')],
    ['another issuer', (url) => url.searchParams.set('iss', 'https://evil.example')],
    ['a refusal', (url) => url.searchParams.set('error', 'access_denied')],
  ]
  test.each(alter)('with %s signs nobody in', async (_, change) => {
    const { at } = await begin()
    change(at)
    await refused(at)
  })
  test('with a cookie that was altered signs nobody in', async () => {
    const { at } = await begin()
    const jar = browser.cookies.get(console.url)!
    const sealed = jar.get('leasegate-sign-in')!
    jar.set('leasegate-sign-in', `${sealed.slice(0, -2)}AA`)
    await refused(at)
  })
})

test('signing in again ends the session before, and takes no value that the browser brings', async () => {
  const fixed = 'A'.repeat(43)
  browser.cookies.set(console.url, new Map([['leasegate', fixed]]))
  await browser.fetch((await begin()).at.href)
  const first = browser.session!
  expect(first).not.toBe(fixed)
  await browser.fetch((await begin()).at.href)
  expect(browser.session).not.toBe(first)
  const old = new Browser(console.url)
  old.cookies.set(console.url, new Map([['leasegate', first]]))
  expect((await old.fetch('/me')).status).toBe(401)
  expect((await browser.fetch('/me')).status).toBe(200)
})

describe('a fresh sign-in for high risk', () => {
  const action = { id: 'act_1', fingerprint: 'f', what: { risk: 'high' } }
  const callerOf = async () => console.sessions.caller((await console.sessions.find(browser.session!))!)

  test('asks for the way and the age, and is enough then', async () => {
    await browser.fetch((await begin()).at.href)
    const stale = await console.confirmation.confirm(await callerOf(), action, undefined)
    expect(stale).toMatchObject({
      code: 'reauthentication_required',
      facts: { answer: { acr_values: strongAcr, max_age: 300 } },
    })
    const asked = new URL((await browser.fetch('/console/sign-in?step_up=1')).headers.get('location')!)
    expect(Object.fromEntries(asked.searchParams)).toMatchObject({
      prompt: 'login',
      max_age: '300',
      acr_values: strongAcr,
    })
    idp.acr = strongAcr
    const before = browser.session
    await browser.fetch((await begin('?step_up=1')).at.href)
    expect(browser.session).not.toBe(before)
    const caller = await callerOf()
    expect(caller.session).toMatchObject({ acr: strongAcr, authTime: expect.any(Number) })
    expect(console.confirmation.needs(caller, 'high')).toEqual({ stepUp: false, passkey: false })
    expect(await console.confirmation.confirm(caller, action, undefined)).toBe('session')
    console.state.ahead = 330
    expect(console.confirmation.needs(caller, 'high').stepUp).toBe(true)
    expect(console.confirmation.needs(caller, 'medium').stepUp).toBe(false)
    console.state.ahead = 0
  })

  test('is needed for a new passkey, and the answer says how (RFC 9470)', async () => {
    await browser.fetch((await begin()).at.href)
    await browser.learn()
    const answer = await browser.order('/passkeys/options', {})
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([
      401,
      `Bearer error="insufficient_user_authentication", acr_values="${strongAcr}", max_age="300"`,
    ])
    expect(await answer.json()).toMatchObject({
      code: 'reauthentication_required',
      acr_values: strongAcr,
      max_age: 300,
      sign_in: '/console/sign-in?step_up=1',
    })
    idp.acr = strongAcr
    await browser.fetch((await begin('?step_up=1')).at.href)
    await browser.learn()
    expect((await browser.order('/passkeys/options', {})).status).toBe(200)
  })

  test('in a weaker way does not sign in', async () => {
    const { at } = await begin('?step_up=1')
    const answer = await browser.fetch(at.href)
    expect(answer.status).toBe(403)
    expect(await answer.text()).toContain('did not confirm you in the way')
  })

  test('is not there for programs', async () => {
    const program = {
      by: 'token',
      person: { user: 'bot', issuer: 'x', subject: 'bot', groups: [] },
      roles: ['admin'],
      tenant: undefined,
    } as const
    expect(await console.confirmation.confirm(program, action, undefined)).toMatchObject({
      code: 'reauthentication_required',
    })
    expect(await console.confirmation.confirm(program, { ...action, what: { risk: 'low' } }, undefined)).toBe(
      'token',
    )
  })
})

test('a provider that is down has a page that says so, and is asked again', async () => {
  const down = createServer((_, res) => res.writeHead(500).end())
  await new Promise<void>((resolve) => down.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(down.address() as AddressInfo).port}`
  const other = await startTestConsole({ signIn: signInAt(issuer) })
  const answer = await fetch(`${other.url}/console/sign-in`, { redirect: 'manual' })
  expect(answer.status).toBe(503)
  expect(answer.headers.get('content-type')).toContain('text/html')
  expect(await answer.text()).toContain('does not answer')
  down.close()
  down.closeAllConnections()
  expect((await fetch(`${other.url}/console/sign-in`, { redirect: 'manual' })).status).toBe(503)
  await other.close()
})

test('with a provider nobody makes links, and none that was made works', async () => {
  const answer = await fetch(`${console.url}/console/links`, {
    method: 'POST',
    headers: { authorization: 'Bearer operator-token-of-the-admin', 'content-type': 'application/json' },
    body: '{"user":"alice"}',
  })
  expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([
    403,
    'operator_not_allowed',
  ])
})

test('the store gone: nobody is signed in, and nothing else breaks', async () => {
  const { at } = await begin()
  const answer = await console.withoutStore(() => browser.fetch(at.href))
  expect([answer.status, browser.session]).toEqual([503, undefined])
  expect(console.bugs).toEqual([])
  expect((await signIn()).answer.status).not.toBe(500)
})
