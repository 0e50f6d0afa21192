// `npm run test:faults`: every fault that this machine can bring about, one after another, with a line of figures
// each; exit code 1 when an acknowledged revocation did not hold. `--only NAME` (a part of it will do), `--short`.
import { parseArgs } from 'node:util'
import { faults } from './cases.ts'
import { openGround } from './deployment.ts'
import { describe, type Fault, NotHere, suffer } from './fault.ts'

const { only, short } = parseArgs({
  options: { only: { type: 'string', default: '' }, short: { type: 'boolean', default: false } },
}).values
const chosen = faults.filter((fault) => fault.name.includes(only) && (!short || fault.short === true))
const held = await inflict(chosen)
// Left to itself, Node has spun for ever in the clean-up of its own handles (`Environment::CleanupHandles`, 24.21).
process.exit(held ? 0 : 1)

/** Whether every acknowledged revocation held, and there was one. */
async function inflict(chosen: readonly Fault[]): Promise<boolean> {
  let failed = 0
  let notHere = 0
  await using ground = await openGround()
  for (const fault of chosen) {
    try {
      const outcome = await suffer(fault, ground)
      if (!outcome.passed) failed++
      console.log(describe(outcome))
    } catch (error) {
      if (error instanceof NotHere) {
        notHere++
        console.log(`– ${fault.name}: not here: ${error.message}`)
        continue
      }
      failed++
      console.log(`✗ ${fault.name}: ${error instanceof Error ? error.stack : String(error)}`)
    }
  }
  const held = chosen.length - failed - notHere
  const passed = failed === 0 && held > 0
  console.log(`${passed ? 'pass' : 'fail'}: ${held} held, ${failed} failed, ${notHere} not here`)
  return passed
}
