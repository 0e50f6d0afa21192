// `npm run bench`: every number of README.md, in about two minutes, into bench/results/*.json. `--quick` takes
// twenty seconds, prints the same tables and writes nothing: good for a look, not for a claim.
import { parseArgs } from 'node:util'
import { measureDecision } from './decision.ts'
import { writeResult } from './numbers.ts'
import { measureRevocation } from './revocation.ts'
import { measureRoute } from './route.ts'
import { measureThroughput } from './throughput.ts'

const { quick } = parseArgs({ options: { quick: { type: 'boolean', default: false } } }).values
const calls = quick ? 20_000 : 200_000
const seconds = quick
  ? { warmUp: 1, rounds: 2, round: 1, latency: 1 }
  : { warmUp: 5, rounds: 5, round: 3, latency: 5 }

console.log('\none decision')
const decision_us = await measureDecision(calls)
console.log('\none route')
const route_us = measureRoute(calls)
console.log('\nrevocation')
const revocation = await measureRevocation(quick ? 50 : 300, [1_000, quick ? 100_000 : 1_000_000])
console.log('\nthroughput')
const throughput = await measureThroughput(seconds)

if (!quick) {
  writeResult('route', { route_us })
  writeResult('revocation', revocation)
  writeResult('throughput', { ...throughput, decision_us })
  console.log('\nwritten to bench/results/')
}
