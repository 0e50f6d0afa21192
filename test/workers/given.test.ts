// The policy of a worker: what its supervisor gives, believed no earlier than its digest is computed.
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { composeGiven } from '../../src/compose_given.ts'
import { type LivePolicy, openPolicy } from '../../src/policy/live.ts'
import { directorySource } from '../../src/policy/source.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { createShadow } from '../../src/telemetry/shadow.ts'
import { packageRoot } from '../../src/version.ts'
import type { GivenPolicy } from '../../src/workers/messages.ts'

let live: LivePolicy
let first: GivenPolicy
beforeAll(async () => {
  const source = directorySource(join(packageRoot, 'policies'), { reload: 'never' })
  live = await openPolicy({ source, onEvent: () => {} })
  first = { digest: live.current.digest, module: live.module }
}, 60_000)
afterAll(() => live.close())

const records: string[] = []
const metrics = createMetrics({ backends: [], version: '1' })
const log = createLogger({ level: 'error', target: { write: () => true } })
const audit = {
  append: (record: string) => void records.push(record),
  appendDurably: async () => {},
  fault: () => undefined,
  close: async () => {},
}
const needs = { log, metrics, shadow: createShadow({ audit, metrics, log, told: 'elsewhere' }) }

describe('the policy that a worker is given', () => {
  test('decides at once, without a compiler, as it does at the supervisor', async () => {
    const given = await composeGiven(first, needs)
    expect(given.current.digest).toBe(live.current.digest)
    expect(given.current.evaluate('{}')).toEqual(live.current.evaluate('{}'))
    expect(given.given()).toBe(first)
  })

  test('under a digest that is not its own decides nothing', async () => {
    const wrong = { ...first, digest: `sha256:${'0'.repeat(64)}` }
    await expect(composeGiven(wrong, needs)).rejects.toThrow("the supervisor's policy sha256:000")
    const given = await composeGiven(first, needs)
    await expect(given.accept(wrong)).rejects.toThrow("the supervisor's policy sha256:000")
    expect(given.current.digest).toBe(first.digest)
  })

  test('that is no policy is refused, and the one before stays', async () => {
    const given = await composeGiven(first, needs)
    const module = { ...first.module, wasm: new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]) }
    await expect(given.accept({ digest: `sha256:${'1'.repeat(64)}`, module })).rejects.toThrow()
    expect(given.current.digest).toBe(first.digest)
  })

  test('is told of by the supervisor alone: no line in the audit file', async () => {
    const candidate = { number: 1, event: { type: 'rejected', diagnostics: [] }, module: undefined } as const
    await composeGiven({ ...first, candidate }, needs)
    expect(needs.shadow.status().map(({ source }) => source)).toEqual(['candidate'])
    expect(records).toEqual([])
    expect((await metrics.render()).body).toContain(`leasegate_policy_info{digest="${first.digest}"} 1\n`)
  })
})
