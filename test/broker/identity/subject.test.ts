// For whom a lease is asked for: what each kind of subject token gives, and every way in which one is refused.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sessionOf } from '../../../src/broker/identity/session.ts'
import type { Subject } from '../../../src/broker/parties.ts'
import type { Refusal } from '../../../src/refusals.ts'
import type { Json } from '../../support/tokens.ts'
import {
  audience,
  broken,
  brokerIssuer,
  ci,
  claimsOf,
  cluster,
  keysOf,
  login,
  no,
  now,
  openWorld,
  strangers,
  token,
  triage,
  type World,
  yes,
} from './harness.ts'

const types = {
  idToken: 'urn:ietf:params:oauth:token-type:id_token',
  accessToken: 'urn:ietf:params:oauth:token-type:access_token',
  workflow: 'urn:ietf:params:oauth:token-type:jwt',
  idJag: 'id_jag',
} as const
type Kind = keyof typeof types

/** Header of a valid token of each kind. */
const headers: Readonly<Record<Kind, Json>> = {
  idToken: { typ: 'JWT' },
  accessToken: { typ: 'at+jwt' },
  workflow: {},
  idJag: { typ: 'oauth-id-jag+jwt' },
}
const keyFor = (kind: Kind) => (kind === 'workflow' ? keysOf[ci] : keysOf[login])
const kinds = Object.keys(types) as Kind[]

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

function verify(text: string, kind: Kind, at = now, by = world): Promise<Subject | Refusal> {
  return by.subjects.verify(text, types[kind], triage(by), at)
}

/** A valid token of a kind but for the overrides, verified. */
function verified(kind: Kind, over: Json = {}, header: Json = {}, at = now) {
  return verify(token(claimsOf[kind](over), keyFor(kind), { ...headers[kind], ...header }), kind, at)
}

const codeOf = (kind: Kind) => (kind === 'idJag' ? 'invalid_grant' : 'invalid_request')

describe('what a token gives', () => {
  test('an ID token: the user, their login session, how they logged in', async () => {
    const facts = { sid: 's-1', auth_time: now - 30, acr: 'urn:corp:loa:2', groups: ['support', 'eu'] }
    expect(yes(await verified('idToken', facts))).toEqual({
      kind: 'user',
      id: 'usr_alice',
      login: { issuer: login, subject: 'usr_alice' },
      use: 'id_token',
      session: sessionOf(login, 's-1'),
      authTime: now - 30,
      acr: 'urn:corp:loa:2',
      groups: ['support', 'eu'],
      mayAct: undefined,
      clientId: undefined,
      binding: undefined,
      details: undefined,
      issuedAt: now,
      expiresAt: now + 600,
    })
  })

  test('an access token: the user, and what the provider has settled', async () => {
    const details = [{ type: 'lease', actions: ['read'], identifier: 'crm:customer/9821' }]
    const subject = yes(await verified('accessToken', { authorization_details: details }))
    expect(subject).toMatchObject({ kind: 'user', id: 'usr_alice', use: 'access_token', details })
  })

  test("a workflow's own token: a workflow", async () => {
    expect(yes(await verified('workflow'))).toMatchObject({
      kind: 'workflow',
      id: 'repo:acme/app:ref:refs/heads/main',
      use: 'jwt',
    })
  })

  test('an ID-JAG: the user, for this client, with the key and the details that it names', async () => {
    const over = {
      cnf: { jkt: 'k'.repeat(43) },
      authorization_details: [{ type: 'lease' }],
      scope: 'crm:read',
    }
    expect(yes(await verified('idJag', over))).toMatchObject({
      use: 'id_jag',
      clientId: 'support-triage',
      binding: { method: 'dpop', thumbprint: 'k'.repeat(43) },
      details: [{ type: 'lease' }],
    })
  })

  test.each([
    ['one party', { sub: 'agent:a' }, [{ issuer: undefined, subject: 'agent:a' }]],
    ['a party of an issuer', { iss: cluster, sub: 'a' }, [{ issuer: cluster, subject: 'a' }]],
    ['several', [{ sub: 'a' }, { sub: 'b' }], [{ subject: 'a' }, { subject: 'b' }]],
    ['nobody', [], []],
  ])('may_act names %s', async (_, claim, mayAct) => {
    expect(yes(await verified('idToken', { may_act: claim })).mayAct).toMatchObject(mayAct)
  })

  test('act of an ID-JAG names who may act', async () => {
    const subject = yes(await verified('idJag', { act: { sub: 'agent:support-triage' } }))
    expect(subject.mayAct).toEqual([{ issuer: undefined, subject: 'agent:support-triage' }])
  })

  test('one login session is one session, whatever the token; no sid is a new one each time', async () => {
    const sessions = await Promise.all([
      verified('idToken', { sid: 's-1' }),
      verified('accessToken', { sid: 's-1' }),
      verified('idToken', { sid: 's-2' }),
      verified('idToken'),
      verified('idToken'),
    ])
    const [first, second, ...others] = sessions.map((each) => yes(each).session)
    expect(first).toBe(second)
    expect(new Set([first, ...others]).size).toBe(4)
    expect([first, ...others].every((each) => /^ses_[\w-]{26,}$/.test(each!))).toBe(true)
  })

  test('sessions of two providers with one sid differ', () => {
    expect(sessionOf(login, 's')).not.toBe(sessionOf(ci, 's'))
    expect(sessionOf('a', 'b","c')).not.toBe(sessionOf('a","b', 'c'))
  })

  test('an audience that is a list of one is that one', async () => {
    expect(no(await verified('idToken', { aud: [audience] }))).toBe('accepted')
  })

  test('leases know the user by the claim that is configured', async () => {
    const byEmail = await openWorld({ login: { userClaim: 'email' } })
    const asked = (over: Json) =>
      verify(token(claimsOf.idToken(over), keysOf[login]), 'idToken', now, byEmail).then((each) =>
        'id' in each ? each.id : each.facts.cause,
      )
    const email = 'alice@example.com'
    expect(await asked({ email })).toBe(email)
    expect(await asked({ email, email_verified: true })).toBe(email)
    expect(await asked({ email, email_verified: false })).toBe('email_not_verified')
    expect(await asked({ email, email_verified: 'true' })).toBe('email_not_verified')
    expect(await asked({})).toBe('claim_malformed')
    await byEmail.close()
  })
})

describe.each(kinds)('H4: a subject token (%s)', (kind) => {
  const rows: [name: string, over: Json, cause: string][] = [
    ['that has expired', { exp: now - 5 }, 'expired'],
    ['that was issued too long ago', { iat: now - 3606, nbf: now - 3606 }, 'too_old'],
    ['of the future', { iat: now + 6, nbf: now }, 'issued_in_the_future'],
    ['that is not valid yet', { nbf: now + 6 }, 'not_yet_valid'],
    ['that expires before it was issued', { exp: now - 1, iat: now }, 'time_malformed'],
    ['without iat', { iat: undefined }, 'time_malformed'],
    ['without exp', { exp: undefined }, 'time_malformed'],
    ['whose exp is text', { exp: `${now + 600}` }, 'time_malformed'],
    ['whose iat is null', { iat: null }, 'time_malformed'],
    ['whose nbf is a list', { nbf: [now] }, 'time_malformed'],
    ['of an unknown issuer', { iss: 'https://evil.example' }, 'issuer_unknown'],
    ['whose issuer has a slash more', { iss: `${login}/` }, 'issuer_unknown'],
    ['whose issuer is a list', { iss: [login] }, 'issuer_unknown'],
    ['without an issuer', { iss: undefined }, 'issuer_unknown'],
    ['whose issuer speaks for agents', { iss: cluster }, 'issuer_unknown'],
    ['for nobody', { aud: undefined }, 'audience_not_allowed'],
    ['for another', { aud: 'https://api.example' }, 'audience_not_allowed'],
    ['for two', { aud: [audience, brokerIssuer] }, 'audience_not_allowed'],
    ['for itself twice', { aud: [audience, audience] }, 'audience_not_allowed'],
    ['for an empty list', { aud: [] }, 'audience_not_allowed'],
    ['about nobody', { sub: undefined }, 'claim_malformed'],
    ['about a number', { sub: 7 }, 'claim_malformed'],
    ['about a name of two lines', { sub: 'alice\nadmin' }, 'claim_malformed'],
    ['with a malformed sid', { sid: 7 }, 'claim_malformed'],
    ['with a login in the future', { auth_time: now + 60 }, 'claim_malformed'],
    ['with a malformed acr', { acr: {} }, 'claim_malformed'],
    ['with groups that are no list', { groups: 'admins' }, 'claim_malformed'],
    ['with a group that is no text', { groups: ['support', 7] }, 'claim_malformed'],
    ['bound in an unknown way', { cnf: { kid: 'x' } }, 'binding_not_supported'],
    ['bound twice', { cnf: { jkt: 'k'.repeat(43), 'x5t#S256': 'k'.repeat(43) } }, 'binding_not_supported'],
    ['with details that are no list', { authorization_details: {} }, 'claim_malformed'],
  ]
  test.each(rows)('%s is refused', async (_, over, cause) => {
    expect(no(await verified(kind, over))).toEqual({ code: codeOf(kind), cause })
  })

  test.each(strangers(claimsOf[kind](), keyFor(kind)))('that is %s is refused', async (_, text) => {
    expect(no(await verify(text, kind))).toMatchObject({ code: codeOf(kind) })
  })

  const header = { alg: keyFor(kind).alg, kid: keyFor(kind).kid, ...headers[kind] }
  test.each(broken(header, claimsOf[kind](), keyFor(kind)))('with %s is refused', async (_, text) => {
    expect(no(await verify(text, kind))).toMatchObject({ code: codeOf(kind) })
  })

  test('taken for any other kind is refused', async () => {
    const text = token(claimsOf[kind](), keyFor(kind), headers[kind])
    for (const other of kinds.filter((each) => each !== kind)) {
      expect(no(await verify(text, other))).toMatchObject({ code: codeOf(other) })
    }
  })

  test('at its last second is taken, a clock apart too', async () => {
    expect(no(await verified(kind, { exp: now + 1 }))).toBe('accepted')
    expect(no(await verified(kind, { iat: now - 10, exp: now - 4 }))).toBe('accepted')
    expect(no(await verified(kind, { iat: now + 5 }))).toBe('accepted')
  })
})

describe('a subject token', () => {
  test.each([
    'urn:ietf:params:oauth:token-type:refresh_token',
    'urn:ietf:params:oauth:token-type:saml2',
    'URN:IETF:PARAMS:OAUTH:TOKEN-TYPE:ID_TOKEN',
    'id_token',
    '__proto__',
    '',
  ])('of type %j is not served', async (type) => {
    const text = token(claimsOf.idToken(), keysOf[login])
    expect(no(await world.subjects.verify(text, type, triage(world), now))).toEqual({
      code: 'invalid_request',
      cause: 'subject_token_type_unknown',
    })
  })

  test('that is an access token under the typ of an ID token is refused', async () => {
    const text = token(claimsOf.accessToken(), keysOf[login], { typ: 'JWT' })
    expect(no(await verify(text, 'idToken'))).toMatchObject({ cause: 'claim_of_another_kind' })
  })

  test('of a kind that the provider is not configured for is refused', async () => {
    const text = token(claimsOf.workflow({ iss: login }), keysOf[login])
    expect(no(await verify(text, 'workflow'))).toMatchObject({ cause: 'use_not_accepted' })
  })

  test('of one provider signed by another is refused', async () => {
    const text = token(claimsOf.idToken(), keysOf[ci])
    expect(no(await verify(text, 'idToken'))).toMatchObject({ cause: 'key_unknown' })
  })

  test('that somebody acts under already is refused', async () => {
    expect(no(await verified('accessToken', { act: { sub: 'agent:x' } }))).toMatchObject({
      cause: 'limits_not_understood',
    })
  })

  test.each([
    ['no party', 'agent:x'],
    ['a party without sub', { iss: cluster }],
    ['a party with a member that is not looked at', { sub: 'a', client_id: 'b' }],
    ['null', null],
  ])('whose may_act is %s is refused', async (_, claim) => {
    expect(no(await verified('idToken', { may_act: claim }))).toMatchObject({ cause: 'claim_malformed' })
  })

  test.each(['client_id', 'jti'])('of RFC 9068 without %s is refused', async (name) => {
    expect(no(await verified('accessToken', { [name]: undefined }))).toMatchObject({
      cause: 'claim_malformed',
    })
  })

  test('is never repeated in a refusal', async () => {
    const text = token(claimsOf.idToken({ sub: 'usr_mallory', aud: 'evil-audience' }), keysOf[login])
    const refusal = await verify(text, 'idToken')
    const said = JSON.stringify(refusal)
    expect(no(refusal)).not.toBe('accepted')
    for (const secret of [...text.split('.'), 'usr_mallory', 'evil-audience']) {
      expect(said).not.toContain(secret)
    }
  })
})

describe('an ID-JAG', () => {
  test('is used once', async () => {
    const text = token(claimsOf.idJag(), keysOf[login], headers.idJag)
    const answers = await Promise.all(Array.from({ length: 8 }, () => verify(text, 'idJag')))
    expect(answers.filter((each) => no(each) === 'accepted')).toHaveLength(1)
    expect(no(await verify(text, 'idJag'))).toEqual({ code: 'invalid_grant', cause: 'replayed' })
  })

  test('that is refused is not used up', async () => {
    const text = token(claimsOf.idJag(), keysOf[login], headers.idJag)
    expect(no(await verify(text, 'idJag', now - 100))).toMatchObject({ cause: 'issued_in_the_future' })
    expect(no(await verify(text, 'idJag'))).toBe('accepted')
  })

  test.each([
    ['for another client', { client_id: 'billing-lookup' }, 'client_mismatch'],
    ['for no client', { client_id: undefined }, 'claim_malformed'],
    ['without jti', { jti: undefined }, 'claim_malformed'],
    ['for the audience of ID tokens', { aud: audience }, 'audience_not_allowed'],
    ['for the token endpoint', { aud: `${brokerIssuer}/token` }, 'audience_not_allowed'],
    ['limited by scope alone', { scope: 'crm:read' }, 'limits_not_understood'],
    ['limited by resource alone', { resource: 'https://gate.example/crm' }, 'limits_not_understood'],
    ['with actors behind the actor', { act: { sub: 'a', act: { sub: 'b' } } }, 'claim_malformed'],
  ])('%s is refused', async (_, over, cause) => {
    expect(no(await verified('idJag', over))).toEqual({ code: 'invalid_grant', cause })
  })
})
