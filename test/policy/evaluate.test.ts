import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { beforeAll, describe, expect, it } from 'vitest'
import { loadPolicy, maxInputBytes, openEngine, policyDigest } from '../../src/policy/evaluate.ts'
import { parsePolicy, readPolicy } from '../../src/policy/sources.ts'
import { runToolchain } from '../../src/policy/toolchain.ts'
import type { Policy } from '../../src/ports.ts'
import { bundle, compiled, deleting, reading, shippedDir } from './support.ts'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

const input = JSON.stringify(reading)
const malformed = 'the approval is not { approvers, expires_in, … } as docs/policy.md has it'
const named = { approvers: ['group:crm-owners'], expires_in: 600 }

/** `reading`, which is allowed, with one more member: JSON text as it is. */
function withExtra(text: string): string {
  return `${input.slice(0, -1)},"extra":${text}}`
}

describe('a policy that breaks is a "no"', () => {
  const failure = (fault: string) => ({ effect: 'deny', reasons: ['policy_failed'], fault })
  let wasm: Uint8Array

  // Answers whatever the data says, so that every row below is one document and not one compilation.
  beforeAll(async () => {
    wasm = await compiled('decision := data.answer')
  })

  it.each<[name: string, answer: unknown, fault: string]>([
    ['undefined', undefined, 'the decision is undefined'],
    ['true', true, 'the decision is not an object'],
    ['null', null, 'the decision is not an object'],
    ['a list', ['allow'], 'the decision has an unknown member'],
    ['an empty list', [], 'the decision has an unknown effect'],
    ['no effect', { reasons: [] }, 'the decision has an unknown effect'],
    ['an unknown effect', { effect: 'permit', reasons: [] }, 'the decision has an unknown effect'],
    ['an effect in capitals', { effect: 'ALLOW', reasons: [] }, 'the decision has an unknown effect'],
    ['a list of effects', { effect: ['allow'], reasons: [] }, 'the decision has an unknown effect'],
    ['no reasons', { effect: 'allow' }, 'the reasons are not a list of strings'],
    ['a number as reason', { effect: 'allow', reasons: [1] }, 'the reasons are not a list of strings'],
    [
      'an obligation we would not meet',
      { effect: 'allow', reasons: [], redact: ['email'] },
      'the decision has an unknown member',
    ],
    [
      'an approval without approvers',
      { effect: 'hold', reasons: [], approval: { expires_in: 600 } },
      malformed,
    ],
    [
      'an approval that never comes into force',
      { effect: 'hold', reasons: [], approval: { approvers: ['a'], expires_in: 0 } },
      malformed,
    ],
    [
      'an approval on terms we do not know of',
      { effect: 'draft', reasons: [], approval: { ...named, two_factor: true } },
      malformed,
    ],
    [
      'an approval that nobody can give',
      { effect: 'hold', reasons: [], approval: { ...named, approvers: [] } },
      'the approval names nobody',
    ],
    [
      'a hold for nobody in particular',
      { effect: 'hold', reasons: [] },
      'the decision is hold and has no approval',
    ],
    [
      'a draft for nobody in particular',
      { effect: 'draft', reasons: [] },
      'the decision is draft and has no approval',
    ],
    [
      'a yes that waits',
      { effect: 'allow', reasons: [], approval: named },
      'the decision is allow and has an approval',
    ],
    [
      'a no that waits',
      { effect: 'deny', reasons: [], approval: null },
      'the decision is deny and has an approval',
    ],
  ])('%s', async (_name, answer, fault) => {
    const policy = await loadPolicy({ wasm, data: { answer } })
    expect(policy.evaluate(input)).toEqual(failure(fault))
  })

  it('two answers at once, time after time', async () => {
    const conflicting = await compiled(`decision := {"effect": "allow", "reasons": []} if input.version == 1

decision := {"effect": "deny", "reasons": []} if input.lease.stage == "observe"`)
    const policy = await loadPolicy({ wasm: conflicting, data: {} })
    const other = JSON.stringify({ ...reading, lease: { ...reading.lease, stage: 'execute' } })
    for (let i = 0; i < 3; i += 1) {
      expect(policy.evaluate(input).fault).toContain('var assignment conflict')
      expect(policy.evaluate(input).effect).toBe('deny')
      expect(policy.evaluate(other)).toEqual({ effect: 'allow', reasons: [] })
    }
  })

  it('a builtin that only a host could supply', async () => {
    const { wasm, data } = parsePolicy(new Map([['bundle.tar.gz', bundle('needs_host')]]))
    const policy = await loadPolicy({ wasm: wasm!, data })
    expect(policy.hostBuiltins).toEqual(['time.now_ns'])
    const answer = policy.evaluate(input)
    expect(answer).toEqual(failure(answer.fault!))
    expect(answer.fault).toContain('time.now_ns')
  })

  it('an input that is not JSON', async () => {
    const policy = await loadPolicy({ wasm, data: { answer: { effect: 'allow', reasons: [] } } })
    for (const text of ['not json', '{"version":1', `${input.slice(0, -1)},"n":01}`]) {
      expect(policy.evaluate(text)).toEqual(failure('failed to parse json value'))
    }
    expect(policy.evaluate('{"lone":"\\ud800"}')).toMatchObject({ effect: 'deny', fault: expect.any(String) })
    expect(policy.evaluate('')).toEqual(failure('the input is empty'))
    expect(policy.evaluate(input)).toEqual({ effect: 'allow', reasons: [] })
  })
})

describe('a module that cannot decide is not loaded', () => {
  it('refuses other bytes than Wasm', async () => {
    await expect(loadPolicy({ wasm: Buffer.from('not wasm'), data: {} })).rejects.toThrow(Error)
  })

  it('refuses a Wasm module that OPA did not make', async () => {
    const empty = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])
    await expect(loadPolicy({ wasm: empty, data: {} })).rejects.toThrow(Error)
  })

  it.each([[null], [[]], ['text'], [undefined]])('refuses %j as data', async (data) => {
    const { wasm } = parsePolicy(new Map([['bundle.tar.gz', bundle('portable')]]))
    await expect(loadPolicy({ wasm: wasm!, data })).rejects.toThrow('policy data is not an object')
  })
})

describe('the policy that ships', () => {
  const ownersOfTheCrm = {
    approvers: ['group:crm-owners'],
    expiresIn: 600,
    quorum: 1,
    reasonRequired: true,
    afterLease: 0,
    repeat: { calls: 5, seconds: 600 },
  }
  let policy: Policy
  let wasm: Uint8Array
  let data: Readonly<Record<string, unknown>>

  beforeAll(async () => {
    const sources = await readPolicy(shippedDir)
    const outcome = await runToolchain(sources, ['build'])
    expect(outcome.diagnostics).toEqual([])
    wasm = outcome.wasm!
    data = sources.data
    policy = await loadPolicy({ wasm, data })
  })

  it('allows what the lease is for', () => {
    expect(policy.evaluate(input)).toEqual({ effect: 'allow', reasons: [] })
  })

  it('holds high risk and names who may approve', () => {
    expect(policy.evaluate(JSON.stringify(deleting))).toEqual({
      effect: 'hold',
      reasons: ['high_risk_needs_approval', 'untrusted_provenance'],
      approval: ownersOfTheCrm,
    })
  })

  it('keeps writes of stage draft for the same people, and lets them through once they have said yes', () => {
    const drafting = { ...deleting, lease: { ...deleting.lease, stage: 'draft' } }
    expect(policy.evaluate(JSON.stringify(drafting))).toEqual({
      effect: 'draft',
      reasons: ['stage_draft_writes_are_drafts'],
      approval: ownersOfTheCrm,
    })
    for (const kind of ['exact', 'repeat']) {
      const approval = { id: 'act_1', approved_by: ['carol@example.com'], kind }
      const approved = { ...drafting, context: { ...drafting.context, approval } }
      expect(policy.evaluate(JSON.stringify(approved))).toEqual({ effect: 'allow', reasons: [] })
    }
  })

  it('needs nothing of its host', async () => {
    const { hostBuiltins, entrypoints } = await openEngine({ wasm, data })
    expect(hostBuiltins).toEqual([])
    expect(entrypoints.toSorted()).toEqual(['leasegate/authz/decision', 'leasegate/issue/decision'])
  })

  it('keeps its memory flat over many evaluations of large inputs', async () => {
    const large = JSON.stringify({
      ...reading,
      request: { ...reading.request, body: { text: 'x'.repeat(128 * 1024) } },
    })
    const evaluate = (times: number): void => {
      for (let i = 0; i < times; i += 1) expect(policy.evaluate(large).effect).toBe('allow')
    }
    const held = async () => {
      // Buffers that nobody holds any more are not memory the engine keeps; they are swept in the background.
      collectGarbage()
      await sleep(50)
      collectGarbage()
      return process.memoryUsage().external
    }
    evaluate(50)
    const before = await held()
    evaluate(400)
    expect((await held()) - before).toBeLessThan(8 * 1024 * 1024)
  })

  it.each([
    [
      'too large',
      JSON.stringify({ ...reading, request: { ...reading.request, body: 'x'.repeat(maxInputBytes) } }),
    ],
    ['too large in UTF-8 only', JSON.stringify({ ...reading, x: '€'.repeat(maxInputBytes / 2) })],
    ['nested too deeply', withExtra(`${'['.repeat(200_000)}${']'.repeat(200_000)}`)],
    ['wide enough to fill the memory', withExtra(`[${'{},'.repeat(330_000)}1]`)],
  ])('denies an input %s and answers the next as ever', (_name, bad) => {
    expect(policy.evaluate(bad)).toMatchObject({ effect: 'deny', fault: expect.any(String) })
    expect(policy.evaluate(input)).toEqual({ effect: 'allow', reasons: [] })
  })

  it('has a digest over module and data, whatever the order of keys', () => {
    const reversed = Object.fromEntries(Object.entries(data).reverse())
    expect(policy.digest).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(policyDigest({ wasm, data: reversed })).toBe(policy.digest)
    expect(policyDigest({ wasm, data: { ...data, users: {} } })).not.toBe(policy.digest)
    expect(policyDigest({ wasm: Buffer.concat([wasm, Buffer.of(0)]), data })).not.toBe(policy.digest)
  })
})
