// What a permit costs: a record, a budget, an approval, and one last look at the revocations. On the real
// store; the intent log is a list.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Actions } from '../../src/approval/actions.ts'
import { actionOf } from '../../src/approval/hold.ts'
import { createSealer } from '../../src/approval/seal.ts'
import { approvalsOf } from '../../src/approval/use.ts'
import { makeRevocation } from '../../src/broker/revocation.ts'
import { type CommitSources, commit, isConsequential } from '../../src/enforce/commit.ts'
import type { Permit } from '../../src/enforce/decide.ts'
import { LeftMemory } from '../../src/enforce/left.ts'
import { RecentCallCounter } from '../../src/enforce/recent.ts'
import type { Evidence } from '../../src/enforce/stages.ts'
import type { Lease } from '../../src/lease/lease.ts'
import type { Approvals, Limit, Records, Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { approveAction, yesOf } from '../support/approvals.ts'
import {
  accepted,
  backendOf,
  codeOf,
  evidenceOf,
  leaseOf,
  now,
  operationOf,
  permitOf,
  type Scene,
  termsOf,
} from '../support/evidence.ts'

let dir: string
let store: Store
let intents: string[]
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-commit-'))
  store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000, now: () => now * 1_000 })
  intents = []
})
afterEach(async () => {
  await store.close()
  rmSync(dir, { recursive: true })
})

function sources(changes: Partial<CommitSources> = {}): CommitSources {
  return {
    budgets: store.budgets,
    approvals: approvalsOf(actions(), async () => false),
    revocations: store.revocations,
    intents: {
      fault: () => undefined,
      intend: async (_, decisionId) => {
        intents.push(decisionId)
      },
    },
    rates: {},
    left: new LeftMemory(() => now * 1_000),
    // A test may be over, and its store closed, before anything comes back.
    notGivenBack: () => {},
    recent: new RecentCallCounter(),
    readsOnFault: 'refuse',
    deadlineMs: 1_000,
    ...changes,
  }
}

const committed = async (permit: Permit, changes: Partial<CommitSources> = {}) =>
  codeOf(await commit(permit, 'dec_1', sources(changes)))

const read: Scene = {}
const write: Scene = { ask: { method: 'PATCH' } }
const limited = (max: number, changes: Partial<Lease> = {}) =>
  leaseOf({ ...changes, grants: [{ ...leaseOf().grants[0]!, constraints: { max_calls: max } }] })
const revoke = () =>
  store.revocations.revoke(
    accepted(makeRevocation({ scope: 'lease', value: 'lse_1', reason: 'stop', by: 'test' }, now)),
  )

test('a call that is let through counts as a recent call, a refused one does not', async () => {
  const recent = new RecentCallCounter()
  await committed(permitOf(read), { recent })
  await committed(permitOf({ lease: limited(0) }), { recent })
  expect(recent.seen(leaseOf(), now)).toEqual({ lease: 1, agent: 1 })
})

test('a plain read costs nothing and waits for nothing', () => {
  const result = commit(permitOf(read), 'dec_1', sources())
  expect(result).not.toBeInstanceOf(Promise)
  expect(codeOf(result)).toBe('accepted')
  expect(intents).toEqual([])
})

test('what went in comes out', async () => {
  const permit = permitOf(write)
  const result = await commit(permit, 'dec_1', sources())
  expect(result).toHaveProperty('permit', permit)
})

describe('the budget', () => {
  test('F9 of a lease lets exactly so many through, however parallel', async () => {
    const lease = limited(20)
    const codes = await Promise.all(Array.from({ length: 40 }, () => committed(permitOf({ lease }))))
    expect(codes.filter((code) => code === 'accepted')).toHaveLength(20)
    expect(codes.filter((code) => code === 'budget_exhausted')).toHaveLength(20)
  })

  test('of none lets none through', async () => {
    expect(await committed(permitOf({ lease: limited(0) }))).toBe('budget_exhausted')
  })

  test('is one for all tokens and all grants of a lease', async () => {
    const grant = leaseOf().grants[0]!
    const one = limited(1)
    const renewed = leaseOf({
      tokenId: 'ltk_2',
      grants: [
        { ...grant, actions: ['update'] },
        { ...grant, constraints: { max_calls: 1 } },
      ],
    })
    expect(await committed(permitOf({ lease: one }))).toBe('accepted')
    expect(await committed(permitOf({ lease: renewed }))).toBe('budget_exhausted')
  })

  test('of another lease, or of the same id at another issuer, is another', async () => {
    const others = [limited(1), limited(1, { id: 'lse_2' }), limited(1, { issuer: 'https://other.example' })]
    for (const lease of others) expect(await committed(permitOf({ lease }))).toBe('accepted')
  })

  describe('over all that is handed on', () => {
    const root = limited(3)
    const child = limited(3, { id: 'lse_2', ancestors: ['lse_1'] })
    const grandchild = limited(2, { id: 'lse_3', ancestors: ['lse_2', 'lse_1'] })

    test('is shared: handing on multiplies no calls', async () => {
      const asked = [child, grandchild, root, child, root, grandchild]
      const codes: string[] = []
      for (const lease of asked) codes.push(await committed(permitOf({ lease })))
      const spent = 'budget_exhausted'
      expect(codes).toEqual(['accepted', 'accepted', 'accepted', spent, spent, spent])
    })

    test('holds each lease to a smaller one of its own', async () => {
      expect(await committed(permitOf({ lease: root }))).toBe('accepted')
      expect(await committed(permitOf({ lease: grandchild }))).toBe('accepted')
      expect(await committed(permitOf({ lease: grandchild }))).toBe('budget_exhausted')
      expect(await committed(permitOf({ lease: child }))).toBe('accepted')
    })

    test('outlives a lease that was handed on and is over', async () => {
      const brief = limited(3, { id: 'lse_2', ancestors: ['lse_1'], maxExpiresAt: now + 60 })
      const kept: number[] = []
      const budgets: CommitSources['budgets'] = {
        spend: (limits) => {
          kept.push(...limits.flatMap((limit) => (limit.kind === 'total' ? [limit.expiresAt] : [])))
          return store.budgets.spend(limits)
        },
        giveBack: (totals) => store.budgets.giveBack(totals),
      }
      for (const lease of [brief, root]) await committed(permitOf({ lease }), { budgets })
      expect(kept[0]).toBeGreaterThanOrEqual(kept[1]!)
    })
  })

  test('that is spent is refused without an intent on record', async () => {
    await committed(permitOf({ ...write, lease: limited(0) }))
    expect(intents).toEqual([])
  })

  test('that cannot be read refuses', async () => {
    await store.close()
    expect(await committed(permitOf({ lease: limited(5) }))).toBe('evidence_unavailable')
  })

  test('that is not read in time refuses', async () => {
    const budgets = { ...store.budgets, spend: () => new Promise<never>(() => {}) }
    expect(await committed(permitOf({ lease: limited(5) }), { budgets, deadlineMs: 1 })).toBe(
      'evidence_unavailable',
    )
  })
})

describe('the intent', () => {
  test('of a WebSocket is on record before it opens, though it begins with a GET', async () => {
    const offer = ['Upgrade', 'websocket', 'Connection', 'Upgrade', 'Sec-WebSocket-Version', '13']
    const ask = { headers: [...offer, 'Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ=='] }
    await committed(permitOf({ ask, backend: backendOf({ upgrade: false }) }))
    expect(intents).toEqual([])
    await committed(permitOf({ ask, backend: backendOf({ upgrade: true }) }))
    expect(intents).toEqual(['dec_1'])
  })

  test('of a write is on record before it is committed', async () => {
    expect(await committed(permitOf(write))).toBe('accepted')
    expect(intents).toEqual(['dec_1'])
  })

  test.each([
    ['GET', 'low', false],
    ['GET', 'medium', true],
    ['HEAD', 'low', false],
    ['OPTIONS', 'low', false],
    ['OPTIONS', 'high', true],
    ['POST', 'low', true],
    ['PUT', 'low', true],
    ['PATCH', 'low', true],
    ['DELETE', 'low', true],
  ] as const)('%s at %s risk is consequential: %s', (method, risk, consequential) => {
    const operations = [operationOf(`${method} /customers/{id}`, { risk })]
    const permit = permitOf({ ask: { method }, backend: backendOf({ operations }) })
    expect(isConsequential(permit)).toBe(consequential)
  })

  test('that cannot be written refuses', async () => {
    const failing = { fault: () => undefined, intend: () => Promise.reject(new Error('ENOSPC')) }
    const refusal = await commit(permitOf(write), 'dec_1', sources({ intents: failing }))
    expect(refusal).toMatchObject({ code: 'audit_unavailable', facts: { cause: 'ENOSPC' } })
  })

  test('that is not on disk in time refuses', async () => {
    const hanging = { fault: () => undefined, intend: () => new Promise<never>(() => {}) }
    expect(await committed(permitOf(write), { intents: hanging, deadlineMs: 1 })).toBe('audit_unavailable')
  })

  test('that cannot be written uses no approval up', async () => {
    const permit = await approved()
    const failing = { fault: () => undefined, intend: () => Promise.reject(new Error('ENOSPC')) }
    expect(await committed(permit, { intents: failing })).toBe('audit_unavailable')
    expect(await stateNow()).toBe('approved')
  })
})

describe('I1 while no record can be kept', () => {
  const broken = { fault: () => 'ENOSPC', intend: () => Promise.reject(new Error('must not be asked')) }

  test.each([
    ['a read', read, 'refuse', 'audit_unavailable'],
    ['a read', read, 'allow', 'accepted'],
    ['a write', write, 'refuse', 'audit_unavailable'],
    ['a write', write, 'allow', 'audit_unavailable'],
  ] as const)('%s with reads set to %s', async (_, scene, readsOnFault, code) => {
    const intents = { ...broken }
    expect(await committed(permitOf(scene), { intents, readsOnFault })).toBe(code)
  })

  test('a read of medium risk is no low-risk read', async () => {
    const operations = [operationOf('GET /customers/{id}', { risk: 'medium' })]
    const permit = permitOf({ backend: backendOf({ operations }) })
    expect(await committed(permit, { intents: broken, readsOnFault: 'allow' })).toBe('audit_unavailable')
  })

  test.each([
    [read, 'refuse'],
    [write, 'allow'],
  ] as const)('nothing is spent', async (scene, readsOnFault) => {
    const lease = limited(1)
    const blind = { intents: broken, readsOnFault }
    expect(await committed(permitOf({ ...scene, lease }), blind)).toBe('audit_unavailable')
    expect(await committed(permitOf({ ...scene, lease }))).toBe('accepted')
  })
})

const actions = (records = store.records) => new Actions(records, createSealer('a secret of the tests'))

/** A permit for a call that has been approved, with the approval in the store. */
async function approved(changes: Partial<Evidence> = {}) {
  const scene: Scene = { ask: { method: 'DELETE' } }
  const answer = { effect: 'hold', reasons: [], approval: termsOf({ expiresIn: 60 }) } as const
  const holding = { id: 'act_1', decisionId: 'dec_1', policyDigest: 'sha256:0', at: 1 }
  const { action, call } = actionOf(evidenceOf(scene), new Uint8Array(), answer, holding)
  const opened = await actions().open(action, call)
  const { version } =
    opened.action.state === 'pending' ? await approveAction(actions(), opened.action.id) : opened
  const approval = {
    id: opened.action.id,
    kind: 'exact',
    approvedBy: ['carol@example.com'],
    version,
  } as const
  return permitOf(scene, { approval, ...changes })
}

const stateNow = async () => (await actions().get('act_1'))?.action.state

describe('an approval', () => {
  test('F7 is good for one call', async () => {
    const permit = await approved()
    const again = await approved()
    expect(await committed(permit)).toBe('accepted')
    expect(await committed(again)).toBe('approval_used')
  })

  test('F7 is good for one of many at once', async () => {
    const permits: Permit[] = []
    for (let count = 0; count < 8; count++) permits.push(await approved())
    const codes = await Promise.all(permits.map((permit) => committed(permit)))
    expect(codes.filter((code) => code === 'accepted')).toHaveLength(1)
    expect(codes.filter((code) => code === 'approval_used')).toHaveLength(7)
  })

  test('F7 that has expired since it was read is not used', async () => {
    const permit = await approved({ now: now + 60 })
    expect(await committed(permit)).toBe('approval_used')
  })

  test('is as good when somebody else has said yes as well since it was read', async () => {
    const permit = await approved()
    await approveAction(actions(), 'act_1', [yesOf('dave@example.com'), yesOf()])
    expect(await committed(permit)).toBe('accepted')
    expect(await stateNow()).toBe('used')
  })

  test('is worth nothing when a yes that it stands on was taken back, whoever has said yes instead', async () => {
    const permit = await approved()
    await approveAction(actions(), 'act_1', [yesOf('dave@example.com')])
    expect(await committed(permit)).toBe('approval_used')
    expect(await stateNow()).toBe('approved')
  })

  test('that is looked at too late is left to the next call', async () => {
    const permit = await approved()
    const { promise: answered, resolve: answer } = Promise.withResolvers<void>()
    const get: Records['get'] = (kind, id) => answered.then(() => store.records.get(kind, id))
    const slow = approvalsOf(actions({ ...store.records, get }), async () => false)
    let using: Promise<boolean> | undefined
    const approvals: Approvals = {
      use: (...asked) => {
        using = slow.use(...asked)
        return using
      },
    }
    expect(await committed(permit, { approvals, deadlineMs: 50 })).toBe('evidence_unavailable')
    answer()
    expect(await using).toBe(false)
    expect(await stateNow()).toBe('approved')
    expect(await committed(await approved())).toBe('accepted')
  })

  test('that cannot be used up refuses', async () => {
    const permit = await approved()
    await store.close()
    expect(await committed(permit)).toBe('evidence_unavailable')
  })

  test('is left alone by a call that did not need one', async () => {
    await approved()
    expect(await committed(permitOf(write))).toBe('accepted')
    expect(await stateNow()).toBe('approved')
  })
})

describe('a revocation that arrives while the call is being committed', () => {
  const arrivingWith = (intend: () => Promise<void>) => ({ intents: { fault: () => undefined, intend } })

  test('refuses it, and the caller learns what was revoked', async () => {
    const refusal = await commit(permitOf(write), 'dec_1', sources(arrivingWith(revoke)))
    expect(refusal).toMatchObject({
      code: 'lease_revoked',
      facts: { detail: 'revoked by lease', reasons: ['lease_inactive', 'revoked_by_lease'] },
    })
  })

  test('refuses a read that waited for its budget', async () => {
    const budgets = {
      ...store.budgets,
      spend: async (limits: readonly Limit[]) => {
        await revoke()
        return store.budgets.spend(limits)
      },
    }
    expect(await committed(permitOf({ lease: limited(5) }), { budgets })).toBe('lease_revoked')
  })

  test('refuses an approved call, whose approval is gone', async () => {
    const permit = await approved()
    expect(await committed(permit, arrivingWith(revoke))).toBe('lease_revoked')
    expect(await stateNow()).toBe('used')
  })
})

test('a suspension that arrives while the call is being committed refuses it', async () => {
  const intend = () =>
    store.revocations.suspend({
      ...{ lease: 'lse_1', suspended: true, version: 1, expiresAt: now + 3_600 },
      ...{ reason: 'odd reads', by: 'test', at: now },
    })
  const refusal = await commit(
    permitOf(write),
    'dec_1',
    sources({ intents: { fault: () => undefined, intend } }),
  )
  expect(refusal).toMatchObject({
    code: 'lease_revoked',
    facts: { reasons: ['lease_inactive', 'lease_suspended'] },
  })
})
