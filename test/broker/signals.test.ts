// Whatever a provider signs: the readers answer, never throw, and never let one provider speak for another.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readLogoutToken } from '../../src/broker/logout_token.ts'
import type { IdentityProvider } from '../../src/broker/parties.ts'
import { readSecurityEvent } from '../../src/broker/security_event.ts'
import type { SignalSources } from '../../src/broker/signals.ts'
import { isPlainText } from '../../src/lease/text.ts'
import { isRefusal } from '../../src/refusals.ts'
import { encode, type Json } from '../support/tokens.ts'

const now = 1_795_300_000
const issuer = 'https://idp.example'
const revoked = 'https://schemas.openid.net/secevent/caep/event-type/session-revoked'
const loggedOut = 'http://schemas.openid.net/event/backchannel-logout'

const provider: IdentityProvider = {
  ...{ issuer, audience: 'leasegate', keys: { discovery: true }, algorithms: ['ES256'] },
  ...{
    accept: ['logout', 'events'],
    subjects: 'users',
    userClaim: 'sub',
    maxAgeSeconds: 600,
    clockTolerance: 5,
  },
}
/** Every signature is taken for one of the provider, so that everything depends on the claims. */
const sources: SignalSources = {
  byIssuer: (name) => (name === issuer ? provider : undefined),
  prove: async () => undefined,
}
const tokenOf = (typ: string, claims: Json) =>
  `${encode({ typ, alg: 'ES256', kid: 'k' })}.${encode(claims)}.${encode('signature')}`

const text = fc.oneof(
  fc.constant(issuer),
  fc.constant('https://other.example'),
  fc.string({ unit: 'grapheme' }),
)
const simple = fc.oneof(
  fc.record({ format: fc.constant('iss_sub'), iss: text, sub: text }),
  fc.record({ format: fc.constantFrom('opaque', 'email', 'account', ''), id: text, email: text }),
  fc.jsonValue(),
)
const subject = fc.oneof(
  simple,
  fc.record({ format: fc.constant('complex'), user: simple, session: simple }, { requiredKeys: ['format'] }),
)
const foreign = { format: 'iss_sub', iss: 'https://other.example' }

/** A value that is right, or any at all. */
const near = (right: unknown) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(right) }, { weight: 1, arbitrary: fc.jsonValue() })

test('an event tells of the provider’s own subjects, in plain text, or is refused or ignored', async () => {
  const claims = fc.record({
    ...{ iss: near(issuer), aud: near('leasegate'), iat: near(now), jti: near('j'), sub_id: subject },
    events: near({ [revoked]: { event_timestamp: now - 1 } }),
  })
  await fc.assert(
    fc.asyncProperty(claims, async (each) => {
      const event = await readSecurityEvent(tokenOf('secevent+jwt', each), sources, now)
      if (isRefusal(event) || event.type !== 'session_revoked') return
      const { sessions, users, emails } = event.signal.subject
      const named = [...sessions, ...users, ...emails]
      expect(named.length).toBeGreaterThan(0)
      expect(named.every((name) => isPlainText(name))).toBe(true)
      // A session is the provider's own by its name; a user has to be.
      const id = each.sub_id as Json
      if (id.format === 'iss_sub') expect(id.iss).toBe(issuer)
      if (id.format === 'complex' && id.session === undefined) expect(id.user).not.toMatchObject(foreign)
      expect(event.signal.happenedAt).toBeLessThanOrEqual(now + provider.clockTolerance)
    }),
    { numRuns: 400 },
  )
})

test('a logout names one session or one user, in plain text, or is refused', async () => {
  const claims = fc.record(
    {
      ...{ iss: near(issuer), aud: near('leasegate'), iat: near(now), exp: near(now + 60), jti: near('j') },
      ...{ sub: fc.oneof(text, fc.jsonValue()), sid: fc.oneof(text, fc.jsonValue()), nonce: fc.jsonValue() },
      events: near({ [loggedOut]: {} }),
    },
    { requiredKeys: ['iss', 'aud', 'iat', 'exp', 'jti', 'events'] },
  )
  await fc.assert(
    fc.asyncProperty(claims, async (each) => {
      const logout = await readLogoutToken(tokenOf('logout+jwt', each), sources, now)
      if (isRefusal(logout)) return
      const { sessions, users, emails } = logout.subject
      expect([sessions.length + users.length, emails]).toEqual([1, []])
      expect(sessions[0] ?? users[0]).toBe(each.sid ?? each.sub)
      expect(isPlainText(sessions[0] ?? users[0])).toBe(true)
      expect(each).not.toHaveProperty('nonce')
      expect(logout.takenUntil).toBeGreaterThan(now)
    }),
    { numRuns: 400 },
  )
})
