// What is used up by letting a request through: calls of a budget. Exact, however parallel the calls are.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { grantsFor, message, startTestGate, type TestGate } from '../support/gate.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate()
})
afterAll(() => gate.close())

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
