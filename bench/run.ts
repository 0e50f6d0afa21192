// `npm run bench`: every number of README.md, in about twelve minutes, into bench/results/*.json. `--quick` takes
// two and a half, prints the same tables and writes nothing: good for a look, not for a claim.
import { parseArgs } from 'node:util'
import { measureBudgets } from './budgets.ts'
import { measureDecision } from './decision.ts'
import { measureExchange } from './exchange.ts'
import { measureLimited } from './limited.ts'
import { writeResult } from './numbers.ts'
import { measurePolicyScale } from './policy_scale.ts'
import { measureReload } from './reload.ts'
import { measureRevocation } from './revocation.ts'
import { measureRoute } from './route.ts'
import { measureShadow } from './shadow.ts'
import { measureThroughput } from './throughput.ts'
import { measureWorkers } from './workers.ts'

const { quick } = parseArgs({ options: { quick: { type: 'boolean', default: false } } }).values
const calls = quick ? 20_000 : 200_000
const seconds = quick
  ? { warmUp: 1, rounds: 2, round: 1, latency: 1 }
  : { warmUp: 5, rounds: 5, round: 3, latency: 5 }

console.log('\none decision')
const decision_us = await measureDecision(calls)
console.log('\none decision of a large policy')
const policy_scale_us = await measurePolicyScale(quick ? 5_000 : 50_000)
console.log('\none route')
const route_us = measureRoute(calls)
console.log('\nrevocation')
const revocation = await measureRevocation(quick ? 50 : 300, [1_000, quick ? 100_000 : 1_000_000])
console.log('\nbudgets')
const budgets = await measureBudgets(quick ? 500 : 5_000)
console.log('\nthroughput')
const throughput = await measureThroughput(seconds)
console.log('\nlimits')
const limited = await measureLimited({
  ...seconds,
  warmUp: quick ? 1 : 3,
  round: quick ? 1 : 2,
})
console.log('\nworkers')
const workers = await measureWorkers(
  quick ? { rounds: 1, round: 1, revocations: 20 } : { rounds: 3, round: 2, revocations: 100 },
)
console.log('\nreload under load')
const reload = await measureReload(
  quick
    ? { rounds: 1, round: 6, pause: 5, perSecond: 1_000 }
    : { rounds: 5, round: 12, pause: 4, perSecond: 1_000 },
)
console.log('\nshadow')
const shadow = await measureShadow(seconds)
console.log('\nexchange')
const exchange = await measureExchange(
  quick
    ? { rounds: 1, exchanges: 1_000, latency: 2, leases: 10_000 }
    : { rounds: 5, exchanges: 4_000, latency: 10, leases: 10_000 },
)

if (!quick) {
  writeResult('shadow', shadow)
  writeResult('exchange', exchange)
  writeResult('route', { route_us })
  writeResult('revocation', revocation)
  writeResult('budgets', budgets)
  writeResult('limited', limited)
  writeResult('policy_scale', { policy_scale_us })
  writeResult('reload', reload)
  writeResult('workers', workers)
  writeResult('throughput', { ...throughput, decision_us })
  console.log('\nwritten to bench/results/')
}
