// What an identity provider tells, over real sockets and a real store: back-channel logout, and events by SSF push.
// Whatever is not a signal of a configured provider in its one form ends nothing.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { sessionOf } from '../../src/broker/identity/session.ts'
import type { IdentityProvider } from '../../src/broker/parties.ts'
import { makeRevocation } from '../../src/broker/revocation.ts'
import type { SignalSources } from '../../src/broker/signals.ts'
import { signalEndpoints } from '../../src/http/signals.ts'
import type { PublicJwk } from '../../src/lease/jose.ts'
import { openKeys } from '../../src/lease/keys.ts'
import { proveSignature } from '../../src/lease/signature.ts'
import type { Verifier } from '../../src/lease/verify.ts'
import { Unavailable } from '../../src/ports.ts'
import { isRefusal } from '../../src/refusals.ts'
import { audience, bodyOf, observing, startTestBroker, type TestBroker } from '../support/endpoints.ts'
import { accepted } from '../support/evidence.ts'
import { headerOf, type Json, type TestIssuer, testIssuer, testKey } from '../support/tokens.ts'

const brokerAtIdp = 'https://broker.example'
/** Users are known by `sub`; both kinds of signals are taken. */
const idp = testIssuer({ issuer: 'https://idp.example', kid: 'idp-1' })
/** Users are known by `email`. */
const byMail = testIssuer({ issuer: 'https://mail.example', kid: 'mail-1' })
/** Says nothing that is taken here. */
const silent = testIssuer({ issuer: 'https://silent.example', kid: 'silent-1' })
/** Its keys cannot be read. */
const down = testIssuer({ issuer: 'https://down.example', kid: 'down-1' })

let broker: TestBroker
let isDown = false
/** Of the store; 0: that of the call is later. Leases of a later moment are made ahead of their time here. */
let storeNow = 0
let jti = 0

beforeAll(async () => {
  const sources = await sourcesOf([
    [idp, { userClaim: 'sub', accept: ['id_token', 'logout', 'events'] }],
    [byMail, { userClaim: 'email', accept: ['logout', 'events'] }],
    [silent, { userClaim: 'sub', accept: ['id_token'] }],
    [down, { userClaim: 'sub', accept: ['logout', 'events'] }],
  ])
  broker = await startTestBroker((parts) => {
    const { leases, revocations, replay } = parts.store
    const flaky: Pick<typeof revocations, 'find' | 'revoke'> = {
      find: (keys, issuedAt) => revocations.find(keys, issuedAt),
      revoke: (entry) => (isDown ? Promise.reject(new Unavailable('down')) : revocations.revoke(entry)),
    }
    const store = { leases, revocations: flaky, replay, now: async () => storeNow }
    return signalEndpoints({ ...observing(parts), sources, store, issuer: parts.issuer })
  })
})
afterAll(() => broker.close())
afterEach(() => {
  isDown = false
  storeNow = 0
  broker.ahead = 0
  expect(broker.bugs).toEqual([])
})

type Known = readonly [TestIssuer, Pick<IdentityProvider, 'userClaim' | 'accept'>]

async function sourcesOf(known: readonly Known[]): Promise<SignalSources> {
  const keys = new Map(
    await Promise.all(
      known.map(async ([{ issuer, key }]) => {
        const local = key.jwk as unknown as PublicJwk
        const source = issuer === down.issuer ? { file: '/nonexistent' } : ({ local: true } as const)
        return [issuer, await openKeys([{ issuer, jwks: source }], { local: () => [local] })] as const
      }),
    ),
  )
  return {
    byIssuer: (issuer) => {
      const [idp, more] = known.find(([each]) => each.issuer === issuer) ?? []
      if (idp === undefined || more === undefined) return undefined
      const { issuer: name } = idp
      return {
        ...{ issuer: name, audience: brokerAtIdp, keys: { discovery: true }, algorithms: ['ES256'] },
        ...{ subjects: 'users', maxAgeSeconds: 600, clockTolerance: 5 },
        ...more,
      }
    },
    async prove(token, { issuer }) {
      const [provider] = known.find(([each]) => each.issuer === issuer)!
      const key = await proveSignature(token, provider.profile(), keys.get(issuer)!)
      return isRefusal(key) ? key : undefined
    },
  }
}

const nowSeconds = () => Math.floor(Date.now() / 1000)
const own = (claims: Json): Json =>
  Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined))

/** A lease of a user of a provider, as if it had been issued `secondsAgo`. */
async function leaseOf(
  user: string,
  {
    issuer,
    subject,
    sid,
    secondsAgo = 60,
  }: {
    readonly issuer: string
    readonly subject: string
    readonly sid?: string
    readonly secondsAgo?: number
  },
) {
  const session = sid === undefined ? {} : { session: sessionOf(issuer, sid) }
  broker.ahead = -secondsAgo * 1000
  const issued = await broker.issue({ user, login: { issuer, subject }, ...session })
  broker.ahead = 0
  return issued
}

/** Whether every gate on the store refuses the token. */
async function isOver({ token }: { readonly token: string }, verifier: Verifier = broker.verifier) {
  const lease = accepted(await verifier.verify(token, Date.now() / 1000, [audience]))
  return broker.store.revocations.find(lease.revocationKeys, lease.issuedAt - 5) !== undefined
}

let users = 0
const newUser = () => `user-${++users}`

describe('back-channel logout', () => {
  const event = 'http://schemas.openid.net/event/backchannel-logout'
  const claimsOf = (over: Json = {}, by = idp): Json =>
    own({
      ...{
        iss: by.issuer,
        aud: brokerAtIdp,
        iat: nowSeconds(),
        exp: nowSeconds() + 120,
        jti: `jti-${++jti}`,
      },
      ...{ events: { [event]: {} }, ...over },
    })
  const tokenOf = (over: Json = {}, header: Json = {}, by = idp) =>
    by.raw(own({ ...headerOf(by.key), typ: 'logout+jwt', ...header }), claimsOf(over, by))
  const logOut = (token: string) => broker.post('/backchannel_logout', { logout_token: token })

  test('of a session ends its leases for good, and no other session of the user', async () => {
    const user = newUser()
    const over = await leaseOf(user, { issuer: idp.issuer, subject: user, sid: 's1' })
    const other = await leaseOf(user, { issuer: idp.issuer, subject: user, sid: 's2' })
    const elsewhere = await leaseOf(user, { issuer: byMail.issuer, subject: user, sid: 's1' })
    const answer = await logOut(tokenOf({ sub: user, sid: 's1' }))
    expect([answer.status, await answer.text()]).toEqual([200, ''])
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect([await isOver(over), await isOver(other), await isOver(elsewhere)]).toEqual([true, false, false])
    const later = await leaseOf(user, { issuer: idp.issuer, subject: user, sid: 's1', secondsAgo: -900 })
    const key = `session\n${later.record.session}\n${broker.issuer}`
    expect(broker.store.revocations.find([key], later.claims.iat)).toBeDefined()
  })

  test('of a user ends the leases of all their sessions, under every name, and none that come later', async () => {
    const subject = newUser()
    const login = { issuer: idp.issuer, subject }
    const leases = [
      await leaseOf(subject, { ...login, sid: 'a' }),
      await leaseOf(subject, login),
      await leaseOf(`${subject}@example.com`, login),
    ]
    const other = await leaseOf(newUser(), { issuer: idp.issuer, subject: newUser() })
    expect((await logOut(tokenOf({ sub: subject }))).status).toBe(200)
    expect(await Promise.all(leases.map((each) => isOver(each)))).toEqual([true, true, true])
    expect(await isOver(other)).toBe(false)
    const later = await leaseOf(subject, { ...login, secondsAgo: -10 })
    expect(
      broker.store.revocations.find([`user\n${subject}\n${broker.issuer}`], later.claims.iat),
    ).toBeUndefined()
  })

  test('ends no lease of a user whom another provider has under the same name', async () => {
    const user = newUser()
    const lease = await leaseOf(`${user}@mail.example`, { issuer: idp.issuer, subject: user })
    expect((await logOut(tokenOf({ sub: user }, {}, byMail))).status).toBe(200)
    expect(await isOver(lease)).toBe(false)
    expect(broker.told.at(-1)?.trail.reasons).toContain('nothing_to_end')
  })

  test('is on record: who said it, what ended, and no token', async () => {
    const user = newUser()
    const token = tokenOf({ sub: user })
    await logOut(token)
    expect(broker.told.at(-1)).toMatchObject({
      refusal: undefined,
      trail: {
        endpoint: 'backchannel_logout',
        user,
        reasons: ['logged_out', `by:${idp.issuer}`, `user:${user}`],
      },
    })
    expect(broker.store.revocations.find([`user\n${user}\n${broker.issuer}`], 1)).toMatchObject({
      reason: 'logged out',
      by: `idp:${idp.issuer}`,
    })
    expect(JSON.stringify(broker.told)).not.toContain(token)
  })

  test.each([
    ['logout+jwt', 'logout+jwt'],
    ['application/logout+jwt', 'application/logout+jwt'],
    ['JWT, as older providers write it', 'JWT'],
    ['none at all', undefined],
  ])('takes typ %s', async (_, typ) => {
    expect((await logOut(tokenOf({ sub: newUser() }, { typ }))).status).toBe(200)
  })

  test('takes an aud of one in an array', async () => {
    expect((await logOut(tokenOf({ sub: newUser(), aud: [brokerAtIdp] }))).status).toBe(200)
  })

  test('is used once: again it is refused and ends nothing that was issued since', async () => {
    const user = newUser()
    const token = tokenOf({ sub: user, iat: nowSeconds() - 30 })
    expect((await logOut(token)).status).toBe(200)
    const later = await leaseOf(user, { issuer: idp.issuer, subject: user, secondsAgo: -3 })
    broker.ahead = 4_000
    const again = await logOut(token)
    expect([again.status, await bodyOf(again)]).toMatchObject([400, { error: 'invalid_request' }])
    expect(broker.told.at(-1)?.refusal?.facts.cause).toBe('replayed')
    expect(
      broker.store.revocations.find([`user\n${user}\n${broker.issuer}`], later.claims.iat),
    ).toBeUndefined()
  })

  test('that the store could not take is taken when it is sent again', async () => {
    const user = newUser()
    const lease = await leaseOf(user, { issuer: idp.issuer, subject: user })
    const token = tokenOf({ sub: user })
    isDown = true
    const failed = await logOut(token)
    expect([failed.status, failed.headers.get('retry-after')]).toEqual([503, '2'])
    expect(await isOver(lease)).toBe(false)
    isDown = false
    expect((await logOut(token)).status).toBe(200)
    expect(await isOver(lease)).toBe(true)
  })

  describe('is refused, and ends nothing, with', () => {
    const stranger = testKey('idp-1')
    const rows: [name: string, token: (sub: string) => string, cause: string][] = [
      ['no token at all', () => 'nonsense', 'not_compact_jws'],
      [
        'an unsigned one',
        (sub) => `${tokenOf({ sub }, { alg: 'none' }).split('.').slice(0, 2).join('.')}.`,
        'signature_missing',
      ],
      ['the typ of a lease token', (sub) => tokenOf({ sub }, { typ: 'at+jwt' }), 'typ_not_allowed'],
      ['the typ of a security event', (sub) => tokenOf({ sub }, { typ: 'secevent+jwt' }), 'typ_not_allowed'],
      ['a key in its header', (sub) => tokenOf({ sub }, { jwk: idp.key.jwk }), 'header_member_not_allowed'],
      ['an unknown issuer', (sub) => tokenOf({ sub, iss: 'https://evil.example' }), 'issuer_unknown'],
      ['an issuer as a list', (sub) => tokenOf({ sub, iss: [idp.issuer] }), 'issuer_unknown'],
      ['an issuer whose logouts are not taken', (sub) => tokenOf({ sub }, {}, silent), 'issuer_unknown'],
      [
        'another provider’s signature',
        (sub) => byMail.raw({ ...headerOf(byMail.key), typ: 'logout+jwt' }, claimsOf({ sub })),
        'key_unknown',
      ],
      [
        'a stranger’s signature',
        (sub) => idp.raw({ ...headerOf(idp.key), typ: 'logout+jwt' }, claimsOf({ sub }), stranger),
        'signature_invalid',
      ],
      ['another algorithm', (sub) => tokenOf({ sub }, { alg: 'HS256' }), 'alg_not_allowed'],
      ['another audience', (sub) => tokenOf({ sub, aud: 'https://other.example' }), 'audience'],
      ['two audiences', (sub) => tokenOf({ sub, aud: [brokerAtIdp, 'https://other.example'] }), 'audience'],
      ['no audience', (sub) => tokenOf({ sub, aud: undefined }), 'audience'],
      ['no iat', (sub) => tokenOf({ sub, iat: undefined }), 'time_malformed'],
      ['an iat in text', (sub) => tokenOf({ sub, iat: '1' }), 'time_malformed'],
      ['no exp', (sub) => tokenOf({ sub, exp: undefined }), 'time_malformed'],
      ['an exp that is over', (sub) => tokenOf({ sub, exp: nowSeconds() - 6 }), 'time'],
      ['an iat that is too long ago', (sub) => tokenOf({ sub, iat: nowSeconds() - 606 }), 'time'],
      ['an iat in the future', (sub) => tokenOf({ sub, iat: nowSeconds() + 60 }), 'time'],
      ['neither sub nor sid', () => tokenOf(), 'subject_missing'],
      ['a sub that is no text', () => tokenOf({ sub: 7 }), 'subject_malformed'],
      ['a sub with a line break', (sub) => tokenOf({ sub: `${sub}\n` }), 'subject_malformed'],
      ['an empty sid', (sub) => tokenOf({ sub, sid: '' }), 'subject_malformed'],
      ['no events: an ID token', (sub) => tokenOf({ sub, events: undefined }), 'event_missing'],
      ['another event', (sub) => tokenOf({ sub, events: { 'https://e.example': {} } }), 'event_missing'],
      ['an event that is no object', (sub) => tokenOf({ sub, events: { [event]: true } }), 'event_missing'],
      ['a nonce', (sub) => tokenOf({ sub, nonce: 'n' }), 'nonce_present'],
      ['no jti', (sub) => tokenOf({ sub, jti: undefined }), 'jti_malformed'],
    ]
    test.each(rows)('%s', async (_, token, cause) => {
      const user = newUser()
      const lease = await leaseOf(user, { issuer: idp.issuer, subject: user, sid: user })
      const before = broker.store.revocations.size()
      const answer = await logOut(token(user))
      expect([answer.status, (await bodyOf(answer)).error]).toEqual([400, 'invalid_request'])
      expect(answer.headers.get('cache-control')).toBe('no-store')
      expect(broker.told.at(-1)?.refusal?.facts.cause).toBe(cause)
      expect([await isOver(lease), broker.store.revocations.size()]).toEqual([false, before])
    })

    test('no logout_token', async () => {
      const answer = await broker.post('/backchannel_logout', { token: tokenOf({ sub: 'x' }) })
      expect([answer.status, (await bodyOf(answer)).error]).toEqual([400, 'invalid_request'])
    })
  })

  test('is 503 while the keys of the provider cannot be read', async () => {
    expect((await logOut(tokenOf({ sub: newUser() }, {}, down))).status).toBe(503)
  })
})

describe('a security event', () => {
  const revoked = 'https://schemas.openid.net/secevent/caep/event-type/session-revoked'
  const verification = 'https://schemas.openid.net/secevent/ssf/event-type/verification'
  const issSub = (sub: string, iss = idp.issuer) => ({ format: 'iss_sub', iss, sub })
  const claimsOf = (over: Json, by = idp): Json =>
    own({
      ...{ iss: by.issuer, aud: brokerAtIdp, iat: nowSeconds(), jti: `set-${++jti}`, txn: 't' },
      ...{ events: { [revoked]: { event_timestamp: nowSeconds() } }, ...over },
    })
  const tokenOf = (over: Json, header: Json = {}, by = idp) =>
    by.raw(own({ ...headerOf(by.key), typ: 'secevent+jwt', ...header }), claimsOf(over, by))
  const push = (body: string, type = 'application/secevent+jwt') =>
    fetch(`${broker.url}/ssf/events`, { method: 'POST', headers: { 'content-type': type }, body })
  const at = (seconds: unknown) => ({ [revoked]: { event_timestamp: seconds, initiating_entity: 'admin' } })

  describe('session-revoked ends the leases of', () => {
    const rows: [name: string, id: (user: string) => Json, expected: { session: boolean; user: boolean }][] =
      [
        ['a user by iss_sub', (user) => issSub(user), { session: true, user: true }],
        [
          'a session by opaque',
          (user) => ({ format: 'opaque', id: `sid-of-${user}` }),
          { session: true, user: false },
        ],
        ['a user by opaque', (user) => ({ format: 'opaque', id: user }), { session: true, user: true }],
        [
          'a session of a user',
          (user) => ({
            format: 'complex',
            user: issSub(user),
            session: { format: 'opaque', id: `sid-of-${user}` },
          }),
          { session: true, user: false },
        ],
        [
          'a user whose session is named in another way: all of the user',
          (user) => ({ format: 'complex', user: issSub(user), session: { format: 'jwt_id', jti: 'j' } }),
          { session: true, user: true },
        ],
        [
          'a user on a device: all of the user',
          (user) => ({ format: 'complex', user: issSub(user), device: { format: 'opaque', id: 'd' } }),
          { session: true, user: true },
        ],
      ]
    test.each(rows)('%s', async (_, id, expected) => {
      const user = newUser()
      const inSession = await leaseOf(user, { issuer: idp.issuer, subject: user, sid: `sid-of-${user}` })
      const other = await leaseOf(user, { issuer: idp.issuer, subject: user, sid: 'another' })
      const stranger = await leaseOf(newUser(), { issuer: idp.issuer, subject: `${user}-2`, sid: 'third' })
      const answer = await push(tokenOf({ sub_id: id(user) }))
      expect([answer.status, await answer.text()]).toEqual([202, ''])
      expect({ session: await isOver(inSession), user: await isOver(other) }).toEqual(expected)
      expect(await isOver(stranger)).toBe(false)
      expect(broker.told.at(-1)?.trail).toMatchObject({ endpoint: 'ssf_events' })
      expect(broker.told.at(-1)?.trail.reasons[0]).toBe('session_revoked')
    })

    test('a user by email, where that is what leases know them by', async () => {
      const email = `${newUser()}@mail.example`
      const lease = await leaseOf(email, { issuer: byMail.issuer, subject: 'opaque-id' })
      expect((await push(tokenOf({ sub_id: { format: 'email', email } }, {}, byMail))).status).toBe(202)
      expect(await isOver(lease)).toBe(true)
    })

    test('nobody by email, where it is not', async () => {
      const email = `${newUser()}@example.com`
      const lease = await leaseOf(email, { issuer: idp.issuer, subject: 'somebody' })
      expect((await push(tokenOf({ sub_id: { format: 'email', email } }))).status).toBe(202)
      expect(await isOver(lease)).toBe(false)
    })
  })

  test('that comes again is acknowledged, and ends nothing that was issued since (H18b)', async () => {
    const user = newUser()
    const token = tokenOf({ sub_id: issSub(user) })
    expect((await push(token)).status).toBe(202)
    const later = await leaseOf(user, { issuer: idp.issuer, subject: user, secondsAgo: -3 })
    broker.ahead = 4_000
    expect((await push(token)).status).toBe(202)
    expect(broker.told.at(-1)?.trail.reasons).toContain('nothing_to_end')
    expect(
      broker.store.revocations.find([`user\n${user}\n${broker.issuer}`], later.claims.iat),
    ).toBeUndefined()
  })

  test('reaches the newest token, where this clock is behind that of who issued it', async () => {
    const user = newUser()
    storeNow = nowSeconds() + 90
    expect((await push(tokenOf({ sub_id: issSub(user) }))).status).toBe(202)
    const find = (at: number) => broker.store.revocations.find([`user\n${user}\n${broker.issuer}`], at)
    expect([find(storeNow)?.cutoff, find(storeNow + 1)]).toEqual([storeNow, undefined])
  })

  test('that is overtaken by a newer one is ignored (H18c)', async () => {
    const user = newUser()
    expect((await push(tokenOf({ sub_id: issSub(user), events: at(nowSeconds()) }))).status).toBe(202)
    const later = await leaseOf(user, { issuer: idp.issuer, subject: user, secondsAgo: -3 })
    broker.ahead = 4_000
    expect((await push(tokenOf({ sub_id: issSub(user), events: at(nowSeconds() - 300) }))).status).toBe(202)
    expect(
      broker.store.revocations.find([`user\n${user}\n${broker.issuer}`], later.claims.iat),
    ).toBeUndefined()
    expect((await push(tokenOf({ sub_id: issSub(user), events: at(nowSeconds() + 4) }))).status).toBe(202)
    expect(broker.store.revocations.find([`user\n${user}\n${broker.issuer}`], later.claims.iat)).toBeDefined()
  })

  test('that is older than any lease is acknowledged and ends nothing', async () => {
    const user = newUser()
    const iat = nowSeconds() - 31 * 86_400
    expect((await push(tokenOf({ sub_id: issSub(user), iat, events: { [revoked]: {} } }))).status).toBe(202)
    expect(broker.store.revocations.find([`user\n${user}\n${broker.issuer}`], 1)).toBeUndefined()
  })

  test('that tells what is in force already writes nothing', async () => {
    const user = newUser()
    const ask = { scope: 'user', value: user, reason: 'left', by: 'op' } as const
    await broker.store.revocations.revoke(accepted(makeRevocation(ask, nowSeconds() + 1)))
    const before = broker.store.revocations.size()
    expect((await push(tokenOf({ sub_id: issSub(user) }))).status).toBe(202)
    expect(broker.store.revocations.size()).toBe(before)
  })

  describe('is acknowledged and ignored, on record, when it is', () => {
    const rows: [name: string, over: Json, reason: string][] = [
      [
        'a verification',
        { sub_id: { format: 'opaque', id: 'stream' }, events: { [verification]: { state: 's' } } },
        'verification',
      ],
      ['unknown', { sub_id: issSub('x'), events: { 'https://e.example/other': {} } }, 'unknown_event'],
      ['about another provider’s user', { sub_id: issSub('x', byMail.issuer) }, 'unknown_subject'],
      [
        'about a subject of a format that is not known',
        { sub_id: { format: 'phone_number', phone_number: '+1' } },
        'unknown_subject',
      ],
      [
        'about a tenant',
        { sub_id: { format: 'complex', tenant: { format: 'opaque', id: 't' } } },
        'unknown_subject',
      ],
    ]
    test.each(rows)('%s', async (_, over, reason) => {
      const before = broker.store.revocations.size()
      expect((await push(tokenOf(over))).status).toBe(202)
      expect(broker.told.at(-1)?.trail.reasons).toEqual([reason, `by:${idp.issuer}`])
      expect(broker.store.revocations.size()).toBe(before)
    })
  })

  describe('is refused, and ends nothing, with', () => {
    type Row = [name: string, token: (sub_id: Json) => string, err: string]
    const stranger = testKey('idp-1')
    const rows: Row[] = [
      ['no token at all', () => 'nonsense', 'invalid_request'],
      ['two tokens', (sub_id) => `${tokenOf({ sub_id })}\n${tokenOf({ sub_id })}`, 'invalid_request'],
      [
        'the typ of a logout token',
        (sub_id) => tokenOf({ sub_id }, { typ: 'logout+jwt' }),
        'invalid_request',
      ],
      ['no typ', (sub_id) => tokenOf({ sub_id }, { typ: undefined }), 'invalid_request'],
      ['an exp (H18a)', (sub_id) => tokenOf({ sub_id, exp: nowSeconds() + 60 }), 'invalid_request'],
      ['a sub (H18a)', (sub_id) => tokenOf({ sub_id, sub: 'x' }), 'invalid_request'],
      [
        'another audience (H18a)',
        (sub_id) => tokenOf({ sub_id, aud: 'https://other.example' }),
        'invalid_audience',
      ],
      ['two audiences', (sub_id) => tokenOf({ sub_id, aud: [brokerAtIdp, 'b'] }), 'invalid_audience'],
      ['no audience', (sub_id) => tokenOf({ sub_id, aud: undefined }), 'invalid_audience'],
      ['an unknown issuer', (sub_id) => tokenOf({ sub_id, iss: 'https://evil.example' }), 'invalid_issuer'],
      ['an issuer whose events are not taken', (sub_id) => tokenOf({ sub_id }, {}, silent), 'invalid_issuer'],
      ['an unknown key', (sub_id) => tokenOf({ sub_id }, { kid: 'idp-2' }), 'invalid_key'],
      ['another algorithm', (sub_id) => tokenOf({ sub_id }, { alg: 'HS256' }), 'invalid_key'],
      [
        'a stranger’s signature',
        (sub_id) => idp.raw({ ...headerOf(idp.key), typ: 'secevent+jwt' }, claimsOf({ sub_id }), stranger),
        'invalid_key',
      ],
      ['no iat', (sub_id) => tokenOf({ sub_id, iat: undefined }), 'invalid_request'],
      ['an iat in the future', (sub_id) => tokenOf({ sub_id, iat: nowSeconds() + 60 }), 'invalid_request'],
      ['no jti', (sub_id) => tokenOf({ sub_id, jti: undefined }), 'invalid_request'],
      ['no event', (sub_id) => tokenOf({ sub_id, events: {} }), 'invalid_request'],
      ['events in a list', (sub_id) => tokenOf({ sub_id, events: [revoked] }), 'invalid_request'],
      [
        'two events',
        (sub_id) => tokenOf({ sub_id, events: { ...at(nowSeconds()), [verification]: {} } }),
        'invalid_request',
      ],
      [
        'an event that is no object',
        (sub_id) => tokenOf({ sub_id, events: { [revoked]: 'now' } }),
        'invalid_request',
      ],
      ['a time in milliseconds', (sub_id) => tokenOf({ sub_id, events: at(Date.now()) }), 'invalid_request'],
      ['a time in text', (sub_id) => tokenOf({ sub_id, events: at('now') }), 'invalid_request'],
      ['no subject', () => tokenOf({}), 'invalid_request'],
      ['a subject in text', () => tokenOf({ sub_id: 'alice' }), 'invalid_request'],
      ['a subject without format', () => tokenOf({ sub_id: { id: 'x' } }), 'invalid_request'],
      [
        'iss_sub without sub',
        () => tokenOf({ sub_id: { format: 'iss_sub', iss: idp.issuer } }),
        'invalid_request',
      ],
      [
        'an email with a line break',
        () => tokenOf({ sub_id: { format: 'email', email: 'a@b\n' } }),
        'invalid_request',
      ],
      [
        'a session of a user who is none',
        () => tokenOf({ sub_id: { format: 'complex', user: {}, session: { format: 'opaque', id: 's' } } }),
        'invalid_request',
      ],
      [
        'a complex subject in another',
        (sub_id) => tokenOf({ sub_id: { format: 'complex', user: { format: 'complex', user: sub_id } } }),
        'invalid_request',
      ],
    ]
    test.each(rows)('%s', async (_, token, err) => {
      const user = newUser()
      const lease = await leaseOf(user, { issuer: idp.issuer, subject: user })
      const before = broker.store.revocations.size()
      const answer = await push(token(issSub(user)))
      expect([answer.status, await bodyOf(answer)]).toEqual([400, { err, description: expect.any(String) }])
      expect(answer.headers.get('content-type')).toBe('application/json')
      expect(answer.headers.get('content-language')).toBe('en')
      expect(broker.told.at(-1)?.refusal?.code).toBe(err)
      expect([await isOver(lease), broker.store.revocations.size()]).toEqual([false, before])
    })

    test('another content type', async () => {
      const answer = await push(tokenOf({ sub_id: issSub(newUser()) }), 'application/jwt')
      expect([answer.status, (await bodyOf(answer)).err]).toEqual([400, 'invalid_request'])
    })

    test('more than a token may be', async () => {
      expect((await push('a'.repeat(9_000))).status).toBe(413)
    })
  })

  test('is 503 while the store takes nothing or the keys cannot be read', async () => {
    const user = newUser()
    const token = tokenOf({ sub_id: issSub(user) })
    isDown = true
    const failed = await push(token)
    expect([failed.status, failed.headers.get('retry-after')]).toEqual([503, '2'])
    isDown = false
    expect((await push(token)).status).toBe(202)
    expect(broker.store.revocations.find([`user\n${user}\n${broker.issuer}`], nowSeconds())).toBeDefined()
    expect((await push(tokenOf({ sub_id: issSub(user, down.issuer) }, {}, down))).status).toBe(503)
  })
})
