// What is used up by letting a request through: calls of a budget, and approvals. Exact, however
// parallel the calls are.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fingerprintOf } from '../../src/enforce/gather.ts'
import type { Authenticated } from '../../src/enforce/stages.ts'
import { eventually, grantsFor, message, startTestGate, type TestGate } from '../support/gate.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate()
})
afterAll(() => gate.close())

const now = () => Math.floor(Date.now() / 1000)

/** How often each code, or status where there is no code, came back. */
async function tally(sending: readonly string[]): Promise<Record<string, number>> {
  const answers = await Promise.all(sending.map((bytes) => gate.ask(bytes)))
  const counts: Record<string, number> = {}
  for (const { status, body } of answers) {
    const key = status === 200 ? '200' : (JSON.parse(body.toString()) as { code: string }).code
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}

describe('max_calls', () => {
  const limited = (max_calls: number) =>
    grantsFor('crm', ['customer/*']).map((grant) => ({ ...grant, constraints: { max_calls } }))

  test('lets exactly that many of 40 parallel calls through', async () => {
    const seen = gate.backend.requests.length
    const token = gate.token({ authorization_details: limited(20) })
    const counts = await tally(Array.from({ length: 40 }, () => message({ token })))
    expect(counts).toEqual({ '200': 20, budget_exhausted: 20 })
    expect(gate.backend.requests).toHaveLength(seen + 20)
  })

  test('counts per lease, whatever token carries it', async () => {
    const make = () => gate.token({ authorization_details: limited(3) }, { id: 'lse_renewed' })
    const sending = Array.from({ length: 6 }, () => message({ token: make() }))
    expect(await tally(sending)).toEqual({ '200': 3, budget_exhausted: 3 })
  })

  test('of zero lets nothing through', async () => {
    expect(await tally([message({ token: gate.token({ authorization_details: limited(0) }) })])).toEqual({
      budget_exhausted: 1,
    })
  })

  test('any other constraint cannot be enforced, so it grants nothing', async () => {
    const details = grantsFor('crm', ['customer/*']).map((grant) => ({
      ...grant,
      constraints: { max_calls: 5, max_tokens: 10 },
    }))
    expect(await tally([message({ token: gate.token({ authorization_details: details }) })])).toEqual({
      outside_lease: 1,
    })
  })
})

describe('a call of high risk', () => {
  const remove = (token: string, target = '/crm/customers/9821') =>
    message({ method: 'DELETE', target, token })

  /** A human's yes to deleting customer 9821 under the lease `id`. */
  async function approve(
    id: string,
    { by = 'carol@example.com', expiresAt = now() + 60 } = {},
  ): Promise<void> {
    const action = {
      lease: { issuer: gate.issuer.issuer, id, task: { system: 'jira', id: 'SUP-4711' } },
      request: { method: 'DELETE' },
      backend: { name: 'crm' },
      mapped: { backendPath: '/customers/9821' },
    } as Authenticated
    const fingerprint = fingerprintOf(action, undefined)
    const store = await gate.store()
    await store.approvals.put({ fingerprint, id: `apr_${id}`, approvedBy: [by], expiresAt })
  }

  test('waits for a human', async () => {
    const before = gate.records().length
    const seen = gate.backend.bytesSeen().length
    expect(await tally([remove(gate.token())])).toEqual({ approval_required: 1 })
    const [record] = await gate.recordsAfter(before)
    expect(record?.decision).toMatchObject({ effect: 'hold', code: 'approval_required' })
    expect(gate.backend.bytesSeen()).toHaveLength(seen)
  })

  test('goes through once with an approval, and then waits again', async () => {
    const token = gate.token({}, { id: 'lse_approved' })
    await approve('lse_approved')
    const from = gate.audit().length
    expect(await tally([remove(token)])).toEqual({ '200': 1 })
    expect(gate.backend.requests.at(-1)).toMatchObject({ method: 'DELETE', url: '/customers/9821' })
    expect(await tally([remove(token)])).toEqual({ approval_required: 1 })
    await eventually(() => gate.audit().length >= from + 3, 'the records')
    const ends = gate
      .audit()
      .slice(from)
      .map(({ outcome }) => (outcome as { ended: string }).ended)
    expect(ends).toEqual(['intent', 'completed', 'refused'])
  })

  test('goes through exactly once, however many calls race for the approval', async () => {
    const seen = gate.backend.requests.length
    const token = gate.token({}, { id: 'lse_raced' })
    await approve('lse_raced')
    const { '200': served, ...refused } = await tally(Array.from({ length: 10 }, () => remove(token)))
    expect(served).toBe(1)
    const { approval_used = 0, approval_required = 0, ...others } = refused
    expect([approval_used + approval_required, others]).toEqual([9, {}])
    expect(gate.backend.requests).toHaveLength(seen + 1)
  })

  test('does not go through with an approval for something else, of somebody else, or of the user', async () => {
    const token = gate.token({}, { id: 'lse_other_action' })
    await approve('lse_other_action')
    expect(await tally([remove(token, '/crm/customers/1042')])).toEqual({ approval_required: 1 })
    expect(await tally([remove(token, '/crm/customers/9821?force=1')])).toEqual({ approval_required: 1 })
    expect(await tally([remove(gate.token())])).toEqual({ approval_required: 1 })
    await approve('lse_self', { by: 'alice@example.com' })
    expect(await tally([remove(gate.token({}, { id: 'lse_self' }))])).toEqual({ policy_denied: 1 })
    // Nothing of this has used up the approval.
    expect(await tally([remove(token)])).toEqual({ '200': 1 })
  })

  test('does not go through with an approval that has expired', async () => {
    await approve('lse_late', { expiresAt: now() - 1 })
    expect(await tally([remove(gate.token({}, { id: 'lse_late' }))])).toEqual({ approval_required: 1 })
  })
})
