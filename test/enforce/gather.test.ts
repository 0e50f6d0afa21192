// What is read before the decision, and what is read again after every wait.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { makeRevocation } from '../../src/broker/revocation.ts'
import { checks } from '../../src/enforce/checks.ts'
import { decide } from '../../src/enforce/decide.ts'
import { type EvidenceSources, gather, type RequestBody } from '../../src/enforce/gather.ts'
import { LeftMemory } from '../../src/enforce/left.ts'
import { RecentCallCounter } from '../../src/enforce/recent.ts'
import type { Evidence } from '../../src/enforce/stages.ts'
import type { Store } from '../../src/ports.ts'
import { type Refusal, refuse } from '../../src/refusals.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import {
  accepted,
  allowing,
  authenticatedOf,
  backendOf,
  codeOf,
  leaseOf,
  now,
  operationOf,
  type Scene,
} from '../support/evidence.ts'

let dir: string
let store: Store
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-gather-'))
  store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000, now: () => now * 1_000 })
})
afterEach(async () => {
  await store.close()
  rmSync(dir, { recursive: true })
})

function sources(changes: Partial<EvidenceSources> = {}): EvidenceSources {
  return {
    revocations: store.revocations,
    budgets: store.budgets,
    left: new LeftMemory(() => now * 1_000),
    recent: new RecentCallCounter(),
    maxStalenessMs: 2_000,
    inspectedBodyBytes: 1_024,
    deadlineMs: 1_000,
    clock: () => now * 1_000,
    clockOffset: store.clockOffset,
    ...changes,
  }
}

/** A client that sends `text`; doing `meanwhile` before its last byte arrives. */
function sending(text: string, meanwhile: () => Promise<unknown> = async () => {}): RequestBody {
  return {
    async read(limit) {
      await meanwhile()
      const bytes = Buffer.from(text)
      return bytes.length > limit ? refuse('body_too_large', { detail: `more than ${limit} bytes` }) : bytes
    },
  }
}

const unread: RequestBody = {
  read: () => {
    throw new Error('this body must not be read')
  },
}

const put: Scene = {
  ask: { method: 'PUT', headers: ['Content-Type', 'application/json', 'Content-Length', '9'] },
}
const dangerous: Scene = { ask: { method: 'DELETE' } }

async function gathered(
  scene: Scene,
  body: RequestBody = unread,
  changes: Partial<EvidenceSources> = {},
): Promise<Evidence | Refusal> {
  return gather(authenticatedOf(scene), sources(changes), body)
}

const revoke = (scope: 'lease' | 'user', value: string) =>
  store.revocations.revoke(accepted(makeRevocation({ scope, value, reason: 'stop', by: 'test' }, now)))

const hold = (lease: string, suspended = true, version = 1) =>
  store.revocations.suspend({
    ...{ lease, suspended, version, expiresAt: now + 3_600 },
    ...{ reason: 'odd reads', by: 'test', at: now },
  })

test('a plain read waits for nothing', () => {
  const evidence = gather(authenticatedOf(), sources(), unread)
  expect(evidence).toMatchObject({ now, revocation: undefined, approval: undefined, body: null })
  expect((evidence as Evidence).viewAgeMs).toBeLessThanOrEqual(2_000)
})

describe('suspension', () => {
  test.each(['lse_1', 'lse_parent'])('of %s is found, and then no body is read', async (lease) => {
    await hold(lease)
    const scene = { ...put, lease: leaseOf({ ancestors: ['lse_parent'] }) }
    expect(codeOf(decide(accepted(await gathered(scene)), allowing))).toBe('lease_revoked')
    await hold(lease, false, 2)
    expect(codeOf(decide(accepted(await gathered(scene, sending('{}'))), allowing))).toBe('accepted')
  })

  test('that arrives while the body is read is seen', async () => {
    const body = sending('{"a":1}', () => hold('lse_1'))
    expect(codeOf(decide(accepted(await gathered(put, body)), allowing))).toBe('lease_revoked')
  })
})

describe('revocation', () => {
  test('is found, and then no body is read for the dead lease', async () => {
    await revoke('user', 'alice@example.com')
    const evidence = accepted(await gathered(put))
    expect(codeOf(decide(evidence, allowing))).toBe('lease_revoked')
  })

  test('that arrives while the body is read is seen', async () => {
    const evidence = await gathered(
      put,
      sending('{"a":1}', () => revoke('lease', 'lse_1')),
    )
    expect(codeOf(decide(accepted(evidence), allowing))).toBe('lease_revoked')
  })

  test('reaches back over the tolerance of the issuer, and no further', async () => {
    await store.revocations.revoke({
      scope: 'user',
      value: 'alice@example.com',
      cutoff: now - 12 - 5,
      expiresAt: now + 60,
      reason: 'stop',
      by: 'test',
      at: now,
    })
    expect(accepted(await gathered({})).revocation).toBeDefined()
    const later = leaseOf({ issuedAt: now - 11 })
    expect(accepted(await gathered({ lease: later })).revocation).toBeUndefined()
  })
})

test('time goes on while the body is read: a lease that ended meanwhile is refused', async () => {
  let at = now * 1_000
  const evidence = await gathered(
    put,
    sending('{"a":1}', async () => {
      at += 300_000
    }),
    { clock: () => at },
  )
  expect(accepted(evidence).now).toBe(now + 300)
  const leaseHasNotExpired = checks.find(({ name }) => name === 'leaseHasNotExpired')
  expect(codeOf(leaseHasNotExpired?.(accepted(evidence)))).toBe('lease_expired')
})

describe('a body', () => {
  test('that policy reads comes out parsed, beside the very bytes', async () => {
    const evidence = accepted(await gathered(put, sending('{"a":[1]}')))
    expect(evidence.body).toEqual({ a: [1] })
    expect(Buffer.from(evidence.bodyBytes!).toString()).toBe('{"a":[1]}')
  })

  test('that is JSON null is null, not undefined', async () => {
    expect(accepted(await gathered(put, sending('null'))).body).toBeNull()
  })

  test('is read no further than the smaller of both limits', async () => {
    expect(codeOf(await gathered(put, sending(`{"a":"${'x'.repeat(1_024)}"}`)))).toBe('body_too_large')
    const small = backendOf({
      operations: [operationOf('PUT /customers/{id}', { body: 'json', bodyLimit: 8 })],
    })
    expect(codeOf(await gathered({ ...put, backend: small }, sending('{"a":123}')))).toBe('body_too_large')
  })

  test.each([
    ['stalls', refuse('request_timeout')],
    ['breaks off', refuse('malformed_framing')],
  ])('that %s ends the walk', async (_, refusal) => {
    expect(await gathered(put, { read: async () => refusal })).toBe(refusal)
  })
})

test('recent calls are those let through so far; looking does not count', async () => {
  const recent = new RecentCallCounter()
  recent.add(leaseOf(), now)
  recent.add(leaseOf({ id: 'lse_2' }), now)
  await gathered({}, unread, { recent })
  const again = await gathered({}, unread, { recent })
  expect(accepted(again).recentCalls).toEqual({ lease: 1, agent: 2 })
})

test('a body that policy cannot read refuses', async () => {
  expect(codeOf(await gathered(put, sending('{')))).toBe('malformed_request')
})

describe('what the lease has left', () => {
  const limited = leaseOf({
    grants: [{ ...leaseOf().grants[0]!, constraints: { max_calls: 5, max_amount: '2.50' } }],
  })
  const counted = () => {
    let looks = 0
    const look: EvidenceSources['budgets']['look'] = (limits) => {
      looks++
      return store.budgets.look(limits)
    }
    return { budgets: { look }, looks: () => looks }
  }

  test('is looked up once in a second', async () => {
    let time = now * 1_000
    const { budgets, looks } = counted()
    const seeing = sources({ budgets, left: new LeftMemory(() => time) })
    const asked = async () => gather(authenticatedOf({ lease: limited }), seeing, sending(''))
    const budget = { calls: 5n, bytes: undefined, amount: 2_500_000n, rate: undefined }
    for (let at = 0; at < 3; at++) expect(await asked()).toMatchObject({ budget })
    expect(looks()).toBe(1)
    time += 1_001
    await asked()
    expect(looks()).toBe(2)
    // A clock that was set back makes nothing new.
    time -= 60_000
    await asked()
    expect(looks()).toBe(3)
  })

  test('is not asked for where nothing is limited', () => {
    const { budgets, looks } = counted()
    expect(gather(authenticatedOf(), sources({ budgets }), sending(''))).toMatchObject({ budget: undefined })
    expect(looks()).toBe(0)
  })

  test.each<[string, EvidenceSources['budgets']['look']]>([
    ['cannot be read', () => Promise.reject(new Error('gone'))],
    ['is not read in time', () => new Promise<never>(() => {})],
  ])('that %s refuses', async (_, look) => {
    const seeing = sources({ budgets: { look }, deadlineMs: 1 })
    expect(codeOf(await gather(authenticatedOf({ lease: limited }), seeing, sending('')))).toBe(
      'evidence_unavailable',
    )
  })
})

describe('strict reading', () => {
  const lease = leaseOf()
  const revoke = (other: Store) =>
    other.revocations.revoke(
      accepted(makeRevocation({ scope: 'lease', value: lease.id, reason: 'leaked', by: 'ops' }, now)),
    )

  test.each([
    ['a plain request', {}, unread],
    ['one whose body is read', put, sending('{"a":"b"}')],
    ['one of high risk', dangerous, sending('')],
  ])('of %s sees what another process has just written', async (_, scene: Scene, body) => {
    const options = { path: join(dir, 'state.db'), maxStalenessMs: 2_000, now: () => now * 1_000 }
    const strict = await openEmbedded({ ...options, pollMs: 1_000_000, strict: true })
    await revoke(store)
    expect(strict.revocations.find(lease.revocationKeys, now - 60)).toBeUndefined()
    const evidence = await gathered(scene, body, { revocations: strict.revocations })
    expect(accepted(evidence).revocation).toMatchObject({ scope: 'lease', reason: 'leaked' })
    await strict.close()
  })

  test.each([
    ['fails', () => Promise.reject(new Error('Redis: timed out')), 'Redis: timed out'],
    ['takes longer than it may', () => new Promise<void>(() => {}), 'no answer within 20 ms'],
  ])('that %s refuses', async (_, confirm, cause) => {
    const { revocations } = store
    const unread = {
      ...{ find: revocations.find.bind(revocations), suspension: revocations.suspension.bind(revocations) },
      ...{ revoke: revocations.revoke.bind(revocations), suspend: revocations.suspend.bind(revocations) },
      ...{ ageMs: () => 0, size: () => 0, watch: () => () => {}, confirm },
      ...{ malformed: revocations.malformed.bind(revocations), faults: () => [] },
    }
    const refusal = await gathered({}, undefined, { revocations: unread, deadlineMs: 20 })
    expect(codeOf(refusal)).toBe('evidence_unavailable')
    expect(refusal).toMatchObject({ facts: { cause } })
  })
})
