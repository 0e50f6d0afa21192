// In: the policy that ships. Out: how long one decision takes, from the JSON text of the policy input to the
// effect: the shipped rules as WebAssembly, in process.
import { openPolicy } from '../src/policy/live.ts'
import { directorySource } from '../src/policy/source.ts'
import { Fixture } from './fixture.ts'
import { type Percentiles, percentiles, printTable, timeEach, writeResult } from './numbers.ts'

/** Of a read that is allowed, microseconds. */
export async function measureDecision(count: number): Promise<Percentiles> {
  using fixture = new Fixture(1)
  const live = await openPolicy({
    source: directorySource(fixture.config.policy.dir, { reload: 'never' }),
    onEvent: () => undefined,
  })
  try {
    const inputs = Array.from({ length: 64 }, (_, n) => JSON.stringify(reading(1_795_300_000 + n)))
    const policy = live.current
    const { effect } = policy.evaluate(inputs[0]!)
    if (effect !== 'allow') throw new Error('the policy does not allow what the benchmark asks for')
    const took = percentiles(timeEach(count, (n) => policy.evaluate(inputs[n % inputs.length]!)))
    printTable(
      ['decision', 'p50 µs', 'p99 µs'],
      [['shipped policy, a read that is allowed', took.p50, took.p99]],
    )
    return took
  } finally {
    await live.close()
  }
}

/** Alice's agent reads customer 9821 under a lease for exactly that (design of the input: policies/input.schema.json). */
function reading(now: number) {
  return {
    version: 1,
    lease: {
      id: 'lse_01K9ZQ4C6V8B3N5M7P9R1T3W5Y',
      user: 'alice@example.com',
      agent: { id: 'agent:support-triage', version: '3.2.1', env: 'prod', profile: 'support' },
      task: { system: 'jira', id: 'SUP-4711', purpose: "answer the customer's billing question" },
      stage: 'observe',
      session: 'ses_01K9ZQ4C6V8B3N5M7P9R1T3W5Y',
      granted: [{ actions: ['read'], resource: 'crm:customer/9821', sensitivity: 'confidential' }],
      age_seconds: 12,
      expires_in_seconds: 288,
    },
    request: {
      backend: 'crm',
      operation: 'GET /customers/{id}',
      verb: 'read',
      resource: 'crm:customer/9821',
      sensitivity: 'confidential',
      risk: 'low',
      method: 'GET',
      path: '/customers/9821',
      params: { id: '9821' },
      query: {},
      body: null,
    },
    context: {
      now,
      source_ip: '10.1.2.3',
      recent_calls: { lease_1m: 4, agent_1m: 40 },
      provenance: 'untrusted',
      approval: null,
    },
  }
}

if (import.meta.main) writeResult('decision', { decision_us: await measureDecision(200_000) })
