// Passkeys with an authenticator in software, over a real socket and a real store: one signs one action, once, for the
// person whose it is, and nothing else.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { isRefusal } from '../../../src/refusals.ts'
import { type SoftwareAuthenticator, softwareAuthenticator } from '../../support/authenticator.ts'
import { type Browser, startTestConsole, type TestConsole } from '../../support/console.ts'

let console: TestConsole
let alice: Browser
let authenticator: SoftwareAuthenticator
/** Where the console says that it is. */
let origin: string

beforeAll(async () => {
  console = await startTestConsole({ url: 'http://localhost:0', passkeys: 'high' })
  origin = console.place.url
})
afterAll(() => console.close())
beforeEach(async () => {
  console.state.ahead = 0
  alice = await console.signedIn({ user: `alice-${Math.random()}@example.com` })
  authenticator = softwareAuthenticator('localhost')
})

const action = { id: 'act_1', fingerprint: 'fp-1', what: { risk: 'high' } }
const json = async (answer: Response) => (await answer.json()) as Record<string, unknown>
const callerOf = async (browser: Browser) =>
  console.sessions.caller((await console.sessions.find(browser.session!))!)

async function register(browser = alice, with_ = authenticator) {
  const options = await json(await browser.order('/passkeys/options', {}))
  return browser.order('/passkeys', with_.create(options, origin))
}
async function challenge(of: { id: string; fingerprint: string } = action, browser = alice) {
  return json(await browser.order(`/actions/${of.id}/challenge`, { fingerprint: of.fingerprint }))
}
async function confirm(assertion: unknown, { browser = alice, of = action } = {}) {
  const shown = await console.confirmation.confirm(await callerOf(browser), of, assertion)
  return isRefusal(shown) ? shown.code : shown
}

describe('a passkey', () => {
  test('is added, listed, used, and removed', async () => {
    expect(await alice.learn()).toMatchObject({ passkeys: 'high', has_passkey: false })
    const { id } = await json(await register())
    expect(await alice.learn()).toMatchObject({ has_passkey: true })
    const list = async () => json(await alice.fetch('/passkeys'))
    expect(await list()).toEqual({ passkeys: [{ id, created_at: expect.any(Number), used_at: null }] })
    expect(await confirm(authenticator.get(await challenge(), origin))).toBe('passkey')
    expect(await list()).toEqual({
      passkeys: [{ id, created_at: expect.any(Number), used_at: expect.any(Number) }],
    })
    expect((await alice.order(`/passkeys/${id}/remove`, {})).status).toBe(204)
    expect(await list()).toEqual({ passkeys: [] })
    expect(console.told.slice(-2).map(([event, change]) => [event, change])).toEqual([
      ['passkeyChanged', 'added'],
      ['passkeyChanged', 'removed'],
    ])
  })

  test('is asked for with user verification, on this host, and one that is there is left out', async () => {
    await register()
    const options = await json(await alice.order('/passkeys/options', {}))
    expect(options).toMatchObject({
      rp: { id: 'localhost' },
      authenticatorSelection: { residentKey: 'preferred', userVerification: 'required' },
      excludeCredentials: [{ id: authenticator.id }],
      attestation: 'none',
    })
    expect(await challenge()).toMatchObject({
      rpId: 'localhost',
      userVerification: 'required',
      allowCredentials: [{ id: authenticator.id }],
    })
  })

  test('is needed for high risk alone, where the configuration says so', async () => {
    expect(await confirm(undefined)).toBe('confirmation_required')
    expect(await confirm(undefined, { of: { ...action, what: { risk: 'low' } } })).toBe('session')
    expect(console.confirmation.needs(await callerOf(alice), 'high')).toEqual({
      stepUp: false,
      passkey: true,
    })
    expect(console.confirmation.needs(await callerOf(alice), 'medium').passkey).toBe(false)
    expect(console.confirmation.needs(await callerOf(alice), 'a risk that nobody knows').passkey).toBe(true)
  })

  test("is not somebody else's to use or to remove", async () => {
    const { id } = await json(await register())
    const bob = await console.signedIn({ user: 'bob@example.com' })
    await register(bob, softwareAuthenticator('localhost'))
    const stolen = authenticator.get(await challenge(action, bob), origin)
    expect(await confirm(stolen, { browser: bob })).toBe('confirmation_required')
    const own = authenticator.get(await challenge(), origin)
    expect(await confirm(own, { browser: bob })).toBe('confirmation_required')
    expect((await bob.order(`/passkeys/${id}/remove`, {})).status).toBe(204)
    expect(await confirm(own)).toBe('passkey')
  })

  test('that is known already is not added for somebody else', async () => {
    await register()
    const bob = await console.signedIn({ user: 'bob2@example.com' })
    expect((await json(await register(bob))).code).toBe('malformed_request')
    expect(await bob.learn()).toMatchObject({ has_passkey: false })
  })

  test('is one of ten at most', async () => {
    for (let made = 0; made < 10; made++) {
      expect((await register(alice, softwareAuthenticator('localhost'))).status).toBe(201)
    }
    expect((await register()).status).toBe(400)
  })
})

describe('what is added has to answer a challenge', () => {
  const rows: readonly (readonly [string, (options: Record<string, unknown>) => unknown])[] = [
    ['of another origin', (options) => authenticator.create(options, 'https://evil.example')],
    ['of another host', (options) => softwareAuthenticator('evil.example').create(options, origin)],
    ['that it made up', () => authenticator.create({ challenge: 'A'.repeat(100) }, origin)],
    ['with what only its name says', () => ({ id: authenticator.id })],
    ['with a list', () => []],
  ]
  test.each(rows)('%s: no', async (_, make) => {
    const options = await json(await alice.order('/passkeys/options', {}))
    const answer = await alice.order('/passkeys', make(options) as object)
    expect([answer.status, (await json(answer)).code]).toEqual([403, 'confirmation_required'])
  })
  test('without user verification: no', async () => {
    authenticator.verified = false
    expect((await register()).status).toBe(403)
  })
  test('of another person: no', async () => {
    const bob = await console.signedIn({ user: 'bob@example.com' })
    const options = await json(await bob.order('/passkeys/options', {}))
    expect((await alice.order('/passkeys', authenticator.create(options, origin))).status).toBe(403)
  })
  test('that has been answered: no', async () => {
    const options = await json(await alice.order('/passkeys/options', {}))
    expect((await alice.order('/passkeys', authenticator.create(options, origin))).status).toBe(201)
    const again = softwareAuthenticator('localhost').create(options, origin)
    expect((await alice.order('/passkeys', again)).status).toBe(403)
  })
})

describe('what is signed for one action', () => {
  beforeEach(async () => {
    await register()
  })
  test('is good once, of five tries at once', async () => {
    const assertion = authenticator.get(await challenge(), origin)
    const tries = await Promise.all(Array.from({ length: 5 }, () => confirm(assertion)))
    expect(tries.filter((shown) => shown === 'passkey')).toHaveLength(1)
    expect(await confirm(assertion)).toBe('confirmation_required')
  })
  test.each([
    ['another action', { ...action, id: 'act_2' }],
    ['another fingerprint', { ...action, fingerprint: 'fp-2' }],
  ])('is no yes to %s', async (_, of) => {
    expect(await confirm(authenticator.get(await challenge(), origin), { of })).toBe('confirmation_required')
  })
  test('is over after two minutes', async () => {
    const assertion = authenticator.get(await challenge(), origin)
    console.state.ahead = 121
    expect(await confirm(assertion)).toBe('confirmation_required')
  })
  test('by a copy of the authenticator is refused: its counter is behind', async () => {
    expect(await confirm(authenticator.get(await challenge(), origin))).toBe('passkey')
    authenticator.counter = 0
    expect(await confirm(authenticator.get(await challenge(), origin))).toBe('confirmation_required')
  })
  test('on another origin, or without user verification, is refused', async () => {
    expect(await confirm(authenticator.get(await challenge(), 'https://evil.example'))).toBe(
      'confirmation_required',
    )
    authenticator.verified = false
    expect(await confirm(authenticator.get(await challenge(), origin))).toBe('confirmation_required')
  })
  test.each([null, '', 'x', 1, [], {}, { id: 1 }, { id: 'x', response: {} }])(
    'in the shape of %o is refused',
    async (assertion) => {
      expect(await confirm(assertion)).toBe('confirmation_required')
    },
  )
  test('with the challenge of a registration is refused', async () => {
    const options = await json(await alice.order('/passkeys/options', {}))
    expect(await confirm(authenticator.get(options, origin))).toBe('confirmation_required')
  })
})

test('somebody without a passkey has nothing to sign with', async () => {
  const answer = await alice.order('/actions/act_1/challenge', { fingerprint: 'f' })
  expect([answer.status, (await json(answer)).code]).toEqual([403, 'confirmation_required'])
  expect((await alice.order('/actions/act_1/challenge', {})).status).toBe(400)
})
