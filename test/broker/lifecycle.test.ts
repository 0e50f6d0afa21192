// What people do with a lease, in a real store: which order is possible when, that repeating one is harmless, and
// that whatever breaks between its two writes leaves the lease dead or held, until the order is repeated.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { leaseState } from '../../src/broker/lease_state.ts'
import {
  changeLease,
  type LifecycleStore,
  type LifecycleVerb,
  lifecycleVerbs,
  revokeAll,
} from '../../src/broker/lifecycle.ts'
import { makeRevocation, type RevocationAsk } from '../../src/broker/revocation.ts'
import { revocationKey } from '../../src/lease/lease.ts'
import type { LeaseRecord, Store } from '../../src/ports.ts'
import { Unavailable } from '../../src/ports.ts'
import { isRefusal } from '../../src/refusals.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { accepted, codeOf, leaseOf, now } from '../support/evidence.ts'
import { leaseRecord } from '../support/leases.ts'

let dir: string
let store: Store
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-lifecycle-'))
  store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000, now: () => now * 1_000 })
})
afterEach(async () => {
  await store.close()
  rmSync(dir, { recursive: true })
})

/** What revocations can name of a lease. */
function subjectOf({ agent, agentVersion, user, task, session }: LeaseRecord) {
  const versioned = `${agent}@${agentVersion}`
  return { agent, agent_version: versioned, user, task: `${task.system}:${task.id}`, session }
}

async function put(over: Partial<LeaseRecord> = {}): Promise<LeaseRecord> {
  const record = leaseRecord({ issuedAt: now - 60, ...over })
  await store.leases.put(record)
  return record
}

const read = async (id = 'lse_1') => (await store.leases.get(id))!
const state = async (at = now, id = 'lse_1') => leaseState(await read(id), store.revocations, at).state

async function order(verb: LifecycleVerb, over: { at?: number; by?: string; in?: LifecycleStore } = {}) {
  const { at = now, by = 'ops:kim', in: parts = store } = over
  return changeLease(await read(), { verb, by, reason: 'because', now: at }, parts)
}

/** The same store, whose nth write gets no answer. */
function failing(nth: 1 | 2): LifecycleStore {
  let writes = 0
  const write = <A extends unknown[], R>(target: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      writes++
      if (writes === nth) throw new Unavailable('no answer')
      return target(...args)
    }
  }
  const { revocations, leases } = store
  return {
    now: () => store.now(),
    leases: {
      get: (id) => leases.get(id),
      transition: write((id, change) => leases.transition(id, change)),
    },
    revocations: {
      revoke: write((entry) => revocations.revoke(entry)),
      suspend: write((entry) => revocations.suspend(entry)),
      find: (keys, issuedAt) => revocations.find(keys, issuedAt),
      suspension: (lease) => revocations.suspension(lease),
      confirm: (lease) => revocations.confirm(lease),
      ageMs: (at) => revocations.ageMs(at),
      size: () => revocations.size(),
      malformed: () => revocations.malformed(),
      faults: () => revocations.faults(),
      watch: (listener) => revocations.watch(listener),
    },
  }
}

/** Whether a gate would let a token of the lease through. */
function passesAtGate(over: { id?: string; ancestors?: string[] } = {}): boolean {
  const lease = leaseOf(over)
  const { revocations } = store
  return (
    revocations.find(lease.revocationKeys, now) === undefined && revocations.suspension(lease) === undefined
  )
}

describe('an order', () => {
  test.each([
    ['suspend', 'suspended', false],
    ['revoke', 'revoked', false],
    ['complete', 'completed', false],
  ] as const)(
    '%s makes the lease %s at broker and gate, and says by whom and why',
    async (verb, to, passes) => {
      await put()
      expect(passesAtGate()).toBe(true)
      const changed = accepted(await order(verb))
      expect(changed).toMatchObject({ state: to, version: 1 })
      expect(changed.changed).toEqual({ at: now, by: 'ops:kim', reason: 'because' })
      expect([await state(), passesAtGate()]).toEqual([to, passes])
    },
  )

  test('resume lets a suspended lease through again', async () => {
    await put()
    await order('suspend')
    expect(accepted(await order('resume'))).toMatchObject({ state: 'active', version: 2 })
    expect([await state(), passesAtGate()]).toEqual(['active', true])
  })

  test('holds and ends the leases that were handed on from it', async () => {
    const child = { id: 'lse_child', ancestors: ['lse_1'] }
    await put()
    await put(child)
    await order('suspend')
    expect([await state(now, 'lse_child'), passesAtGate(child)]).toEqual(['suspended', false])
    await order('resume')
    expect([await state(now, 'lse_child'), passesAtGate(child)]).toEqual(['active', true])
    await order('complete')
    expect([await state(now, 'lse_child'), passesAtGate(child)]).toEqual(['revoked', false])
  })
})

/** The code of each order in each state; `accepted` where it is possible. */
const possible: readonly (readonly [string, readonly LifecycleVerb[], readonly LifecycleVerb[]])[] = [
  ['active', [], ['revoke', 'suspend', 'resume', 'complete']],
  ['suspended', ['suspend'], ['revoke', 'suspend', 'resume', 'complete']],
  ['resumed', ['suspend', 'resume'], ['revoke', 'suspend', 'resume', 'complete']],
  ['revoked', ['revoke'], ['revoke']],
  ['revoked while suspended', ['suspend', 'revoke'], ['revoke']],
  ['completed', ['complete'], ['complete']],
  ['completed while suspended', ['suspend', 'complete'], ['complete']],
]
const rows = possible.flatMap(([name, before, allowed]) =>
  lifecycleVerbs.map((verb) => [verb, name, before, allowed.includes(verb)] as const),
)

describe('H16', () => {
  test.each(rows)('%s of a lease that is %s', async (verb, _, before, allowed) => {
    await put()
    for (const earlier of before) accepted(await order(earlier))
    const was = await read()
    expect(codeOf(await order(verb))).toBe(allowed ? 'accepted' : 'lease_state_conflict')
    if (!allowed) expect(await read()).toEqual(was)
  })

  test.each(lifecycleVerbs)('%s twice is the same as once', async (verb) => {
    await put()
    if (verb === 'resume') await order('suspend')
    const once = accepted(await order(verb))
    const entries = store.revocations.size()
    expect(accepted(await order(verb, { at: now + 5, by: 'ops:lee' }))).toEqual(once)
    expect(store.revocations.size()).toBe(entries)
  })

  test.each(lifecycleVerbs)('%s of a lease that has expired writes nothing', async (verb) => {
    const { maxExpiresAt } = await put()
    const refusal = await order(verb, { at: maxExpiresAt })
    expect(refusal).toMatchObject({ code: 'lease_state_conflict', facts: { reasons: ['lease_expired'] } })
    expect([(await read()).version, store.revocations.size()]).toEqual([0, 0])
  })

  test.each(['suspend', 'resume', 'complete'] as const)(
    '%s of a lease whose agent is revoked',
    async (verb) => {
      await put()
      const ask = { scope: 'agent', value: 'support-triage', by: 'ops:kim', reason: 'r' } as const
      accepted(await revokeAll(ask, store, now))
      expect(codeOf(await order(verb))).toBe('lease_state_conflict')
      expect(await state()).toBe('revoked')
    },
  )

  test('a lease that nobody knows any more', async () => {
    for (const verb of lifecycleVerbs) {
      const gone = leaseRecord({
        id: `lse_gone_${verb}`,
        issuedAt: now,
        state: verb === 'resume' ? 'suspended' : 'active',
      })
      const result = await changeLease(gone, { verb, by: 'ops:kim', reason: 'r', now }, store)
      expect([verb, codeOf(result)]).toEqual([verb, 'lease_unknown'])
    }
  })

  test.each(['', ' ', 'a\nb', 'a\u202eb', 'a\u001b[2J', 'x'.repeat(257)])(
    'a reason like %j',
    async (reason) => {
      const record = await put()
      const result = await changeLease(record, { verb: 'revoke', by: 'ops:kim', reason, now }, store)
      expect([codeOf(result), await read()]).toEqual(['malformed_request', record])
    },
  )
})

describe('a crash between the two writes', () => {
  test.each([
    ['revoke', false, 'revoked'],
    ['complete', false, 'revoked'],
    ['suspend', true, 'suspended'],
  ] as const)('of %s never leaves a lease that the broker takes for active', async (verb, passes, left) => {
    await put()
    await expect(order(verb, { in: failing(2) })).rejects.toThrow(Unavailable)
    expect([await state(), passesAtGate()]).toEqual([left, passes])
  })

  test('of resume leaves it held at the gate', async () => {
    await put()
    await order('suspend')
    await expect(order('resume', { in: failing(2) })).rejects.toThrow(Unavailable)
    expect([await state(), passesAtGate()]).toEqual(['suspended', false])
  })

  test.each(lifecycleVerbs)('of %s is mended by the same order', async (verb) => {
    await put()
    if (verb === 'resume') await order('suspend')
    await expect(order(verb, { in: failing(2) })).rejects.toThrow(Unavailable)
    accepted(await order(verb))
    const to = { revoke: 'revoked', complete: 'completed', suspend: 'suspended', resume: 'active' }[verb]
    expect([await state(), (await read()).state, passesAtGate()]).toEqual([to, to, to === 'active'])
  })

  test.each(lifecycleVerbs)('before the first of %s changes nothing', async (verb) => {
    await put()
    if (verb === 'resume') await order('suspend')
    const was = [await state(), passesAtGate()]
    await expect(order(verb, { in: failing(1) })).rejects.toThrow(Unavailable)
    expect([await state(), passesAtGate()]).toEqual(was)
  })

  test('of a revocation is not taken for the completion of somebody else', async () => {
    await put()
    await expect(order('revoke', { in: failing(2) })).rejects.toThrow(Unavailable)
    expect(codeOf(await order('complete', { by: 'agent:support-triage' }))).toBe('lease_state_conflict')
    expect(await state()).toBe('revoked')
  })
})

describe('many orders at once', () => {
  test('end in one state, the same at broker and gate', async () => {
    await put()
    const verbs = Array.from(
      { length: 12 },
      (_, at) => (at % 2 === 0 ? 'suspend' : 'resume') as LifecycleVerb,
    )
    await Promise.all(verbs.map((verb) => order(verb)))
    // What raced is over; the entry with the latest version stands at every gate.
    const { state: stored } = await read()
    expect(await state()).toBe(stored)
    expect(passesAtGate()).toBe(stored === 'active')
  })

  test('whatever their order, an ended lease never lives again', async () => {
    let n = 0
    const history = fc.array(fc.tuple(fc.constantFrom(...lifecycleVerbs), fc.constantFrom(0, 1, 2)), {
      minLength: 1,
      maxLength: 12,
    })
    await fc.assert(
      fc.asyncProperty(history, async (steps) => {
        const id = `lse_${++n}p`
        await put({ id })
        let ended = false
        for (const [verb, crash] of steps) {
          const parts = crash === 0 ? store : failing(crash as 1 | 2)
          const what = { verb, by: 'ops:kim', reason: 'r', now }
          const result = await changeLease(await read(id), what, parts).catch(() => undefined)
          const done = result !== undefined && !isRefusal(result)
          ended ||= done && (verb === 'revoke' || verb === 'complete')
          const alive = await state(now, id)
          if (ended) expect([alive === 'active', passesAtGate({ id })]).toEqual([false, false])
          // What the broker still calls active may pass, and what does not pass is never called active.
          if (alive === 'active') expect(passesAtGate({ id })).toBe(true)
        }
      }),
      { numRuns: 60 },
    )
  })
})

describe('the state of a lease', () => {
  test('is expired first, whatever else happened to it', async () => {
    const record = await put({ state: 'suspended' })
    expect(leaseState(record, store.revocations, record.maxExpiresAt)).toEqual({ state: 'expired' })
    const endless = { ...record, maxExpiresAt: Number.NaN }
    expect(leaseState(endless, store.revocations, now)).toEqual({ state: 'expired' })
  })

  test('is never active where the store says something unknown', async () => {
    const record = leaseRecord({ issuedAt: now, state: 'on_fire' as LeaseRecord['state'] })
    expect(leaseState(record, store.revocations, now)).toEqual({ state: 'on_fire' })
  })
})

describe('revoking in bulk', () => {
  const ask = (over: Partial<RevocationAsk> = {}): RevocationAsk => ({
    ...{ scope: 'lease', value: 'lse_1', by: 'ops:kim', reason: 'leaked' },
    ...over,
  })

  test('by lease marks its record', async () => {
    await put()
    const { entry, marked } = accepted(await revokeAll(ask(), store, now + 0.7))
    expect(entry).toEqual(accepted(makeRevocation(ask(), now)))
    expect(marked).toEqual(await read())
    expect(await read()).toMatchObject({ state: 'revoked', changed: { by: 'ops:kim', reason: 'leaked' } })
  })

  test('leaves the record of a lease that completed, and of the same id at another issuer', async () => {
    await put()
    const other = accepted(await revokeAll(ask({ issuer: 'https://other.example' }), store, now))
    expect([other.marked, await state()]).toEqual([undefined, 'active'])
    await order('complete')
    expect(accepted(await revokeAll(ask(), store, now)).marked).toBeUndefined()
    expect(await state()).toBe('completed')
  })

  test('by anything else, or of a lease that is not recorded here, is the entry alone', async () => {
    await put()
    for (const over of [{ value: 'lse_elsewhere' }, { scope: 'user', value: 'alice@example.com' }] as const) {
      expect(accepted(await revokeAll(ask(over), store, now)).marked).toBeUndefined()
    }
    expect([(await read()).state, await state()]).toEqual(['active', 'revoked'])
  })

  test.each(['agent', 'agent_version', 'user', 'task', 'session'] as const)(
    'by %s ends what was issued, or renewed, before the clock was set back',
    async (scope) => {
      const record = await put()
      await store.leases.renew(record.id, { issuedAt: now + 60, expiresAt: now + 360 })
      const subject = { scope, value: subjectOf(record)[scope] }
      const { entry } = accepted(await revokeAll(ask(subject), store, now))
      expect(entry.cutoff).toBe(now + 60)
      const keys = [revocationKey(entry.scope, entry.value)]
      expect(store.revocations.find(keys, now + 60)).toMatchObject({ cutoff: now + 60 })
      expect(store.revocations.find(keys, now + 61)).toBeUndefined()
    },
  )

  test('reaches as far as now, and no further, where all clocks agree', async () => {
    await put()
    const { entry } = accepted(
      await revokeAll(ask({ scope: 'user', value: 'alice@example.com' }), store, now),
    )
    expect(entry.cutoff).toBe(now)
  })

  test('of what could match no lease is refused', async () => {
    expect(codeOf(await revokeAll(ask({ value: '01K9' }), store, now))).toBe('malformed_request')
  })
})
