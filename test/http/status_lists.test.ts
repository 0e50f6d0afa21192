// Token status lists over real sockets and a real store, read by the gate's own reader: a lease that is not active is
// not VALID, whatever made it so, and a list that cannot be vouched for is not served.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { makeRevocation } from '../../src/broker/revocation.ts'
import {
  createStatusContents,
  createStatusPlaces,
  type StatusPlaces,
  statusOf,
} from '../../src/broker/status_list.ts'
import { statusListEndpoints } from '../../src/http/status_lists.ts'
import { readCompact } from '../../src/lease/compact.ts'
import type { IssuedLease, LeaseAsk } from '../../src/lease/issue.ts'
import { type Keys, openKeys } from '../../src/lease/keys.ts'
import { createStatusLists } from '../../src/lease/status_list.ts'
import { createVerifier } from '../../src/lease/verify.ts'
import { audience, startTestBroker, type TestBroker } from '../support/endpoints.ts'
import { accepted } from '../support/evidence.ts'
import { defaultProfile } from '../support/tokens.ts'

const ttlSeconds = 15
let broker: TestBroker
let places: StatusPlaces
let foreignKeys: Keys
let looks = 0
let close = () => {}

beforeAll(async () => {
  broker = await startTestBroker(({ store, issuer, sign, clock }) => {
    const leases: typeof store.leases = {
      ...store.leases,
      list: (filter) => {
        looks++
        return store.leases.list(filter)
      },
    }
    const watched = { leases, revocations: store.revocations }
    const contents = createStatusContents({ store: watched, maxStalenessMs: 86_400_000, ttlSeconds })
    close = () => contents.close()
    return statusListEndpoints({ contents, issuer, sign, ttlSeconds, clock })
  })
  places = createStatusPlaces({ replay: broker.store.replay, issuer: broker.issuer })
  foreignKeys = await openKeys([{ issuer: broker.issuer, jwks: { url: `${broker.url}/jwks` } }])
})
afterAll(async () => {
  close()
  foreignKeys.close()
  await broker.close()
})
afterEach(() => {
  expect(broker.bugs).toEqual([])
})

const seconds = () => Math.floor(broker.clock() / 1000)

async function issue(ask: Partial<LeaseAsk> = {}): Promise<IssuedLease> {
  const end = seconds() + 3600
  return broker.issue({
    status: await places.statusFor(seconds(), end),
    notAfter: end,
    leaseSeconds: 86_400,
    ...ask,
  })
}

/** What a gate elsewhere makes of a token: it knows nothing but the lists, and has read none yet. */
async function verdict({ token }: { readonly token: string }) {
  const statusLists = createStatusLists({ keys: foreignKeys })
  const profile = {
    ...defaultProfile(broker.issuer, audience, 'ES256'),
    statusLists: [`${broker.url}/statuslists`],
  }
  const verifier = createVerifier({ issuers: [profile], keys: foreignKeys, statusLists })
  const answer = await verifier.verify(token, broker.clock() / 1000, [audience])
  return 'code' in answer ? `${answer.code} ${answer.facts.cause}` : 'valid'
}

const over = 'lease_revoked status_not_valid'
const revoke = (scope: 'lease' | 'user', value: string) =>
  broker.store.revocations.revoke(
    accepted(makeRevocation({ scope, value, reason: 'r', by: 'op' }, seconds())),
  )
/** The next look at the store is due. */
const wait = (forSeconds: number) => {
  broker.ahead += forSeconds * 1000
}

describe('a gate elsewhere accepts a lease token', () => {
  test('while its lease is active, and after it has been renewed', async () => {
    const issued = await issue()
    expect(await verdict(issued)).toBe('valid')
    const renewed = await broker.issue({
      renews: issued.record,
      status: statusOf(issued.record, broker.issuer)!,
    })
    expect(renewed.claims.status).toEqual(issued.claims.status)
    expect(await verdict(renewed)).toBe('valid')
  })

  const rows: [name: string, end: (lease: IssuedLease) => Promise<unknown>][] = [
    ['revoked', ({ record }) => revoke('lease', record.id)],
    ['revoked with all of its user', ({ record }) => revoke('user', record.user)],
    ['completed', ({ record }) => change(record.id, 'completed')],
    ['suspended', ({ record }) => change(record.id, 'suspended')],
  ]
  test.each(rows)('no more once the lease is %s', async (name, end) => {
    const lease = await issue({ user: `${name.length}@example.com` })
    const bystander = await issue({ user: 'bystander@example.com' })
    await end(lease)
    wait(ttlSeconds)
    expect([await verdict(lease), await verdict(bystander)]).toEqual([over, 'valid'])
  })

  test('no more once a lease that it was handed on from is suspended or revoked', async () => {
    const parent = await issue()
    const child = await issue({ ancestors: [parent.record.id] })
    const at = seconds()
    const entry = { lease: parent.record.id, expiresAt: at + 9000, reason: 'r', by: 'op', at }
    await broker.store.revocations.suspend({ ...entry, suspended: true, version: 1 })
    wait(ttlSeconds)
    expect([await verdict(parent), await verdict(child)]).toEqual([over, over])
    await broker.store.revocations.suspend({ ...entry, suspended: false, version: 2 })
    wait(ttlSeconds)
    expect([await verdict(parent), await verdict(child)]).toEqual(['valid', 'valid'])
    await revoke('lease', parent.record.id)
    wait(1)
    expect([await verdict(parent), await verdict(child)]).toEqual([over, over])
  })

  test('again once it has been resumed', async () => {
    const lease = await issue()
    await change(lease.record.id, 'suspended')
    wait(ttlSeconds)
    expect(await verdict(lease)).toBe(over)
    await change(lease.record.id, 'active')
    wait(ttlSeconds)
    expect(await verdict(lease)).toBe('valid')
  })
})

function change(id: string, to: 'active' | 'suspended' | 'completed') {
  const from = ['active', 'suspended'] as const
  return broker.store.leases.transition(id, { from, to, at: seconds(), by: 'op', reason: 'r' })
}

test('the broker’s own verifier does not read lists: its store knows first', async () => {
  const lease = await issue()
  const own = await broker.verifier.verify(lease.token, seconds(), [audience])
  expect(own).toMatchObject({ id: lease.record.id })
})

describe('the list', () => {
  const listOf = ({ claims }: IssuedLease) => claims.status?.status_list.uri ?? ''
  const get = (uri: string) => fetch(uri)

  test('is a signed JWT that says what it is, and for how long', async () => {
    const lease = await issue()
    const uri = listOf(lease)
    const answer = await get(uri)
    expect(answer.headers.get('content-type')).toBe('application/statuslist+jwt')
    expect(answer.headers.get('cache-control')).toBe(`max-age=${ttlSeconds}`)
    const { claims } = accepted(readCompact(await answer.text(), new Set(['statuslist+jwt']), 100_000))
    const { iat } = claims as { iat: number }
    expect(claims).toEqual({
      ...{ iss: broker.issuer, sub: uri, iat, exp: iat + 4 * ttlSeconds, ttl: ttlSeconds },
      status_list: { bits: 2, lst: expect.any(String) },
    })
  })

  test('is made from one look at the store until its ttl is over or something is revoked', async () => {
    const uri = listOf(await issue())
    wait(ttlSeconds)
    const texts = [await (await get(uri)).text()]
    const before = looks
    wait(ttlSeconds - 1)
    texts.push(await (await get(uri)).text())
    expect([looks, new Set(texts).size]).toEqual([before, 1])
    await revoke('user', 'somebody@example.com')
    await Promise.all([get(uri), get(uri), get(uri)])
    expect(looks).toBe(before + 1)
    wait(ttlSeconds)
    await get(uri)
    expect(looks).toBe(before + 2)
  })

  test.each([
    ['0', 'no number'],
    ['x', 'no number'],
    ['01', 'another spelling'],
    ['1', 'over long ago'],
    ['999999999', 'of leases that nobody can have yet'],
    ['9'.repeat(40), 'beyond all numbers'],
  ])('%s is unknown: %s', async (name) => {
    expect((await get(`${broker.url}/statuslists/${name}`)).status).toBe(404)
  })

  test('is gone once every lease on it is over', async () => {
    const lease = await issue()
    const end = Math.ceil(lease.record.maxExpiresAt / 3600) * 3600
    expect((await get(listOf(lease))).status).toBe(200)
    wait(end - seconds() + 1)
    expect((await get(listOf(lease))).status).toBe(404)
  })

  test('is not served while the revocations cannot be read', async () => {
    wait(100_000)
    const answer = await get(`${broker.url}/statuslists/${Math.ceil(seconds() / 3600) + 1}`)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2'])
  })
})
