// In: the policy that ships. Out: how long one decision takes, from the JSON text of the policy input to the
// effect: the shipped rules as WebAssembly, in process.
import { openPolicy } from '../src/policy/live.ts'
import { sampleInput } from '../src/policy/sample.ts'
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
    const inputs = Array.from({ length: 64 }, (_, n) => inputAt(sampleInput.context.now + n))
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

function inputAt(now: number): string {
  return JSON.stringify({ ...sampleInput, context: { ...sampleInput.context, now } })
}

if (import.meta.main) writeResult('decision', { decision_us: await measureDecision(200_000) })
