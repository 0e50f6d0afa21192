// What policies in shadow leave behind: counts, and audit lines that a flood of differences cannot multiply.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, expect, it } from 'vitest'
import type { AuditSink } from '../../src/ports.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { createShadow, type Shadow } from '../../src/telemetry/shadow.ts'
import { compiled } from '../policy/support.ts'
import { eventually } from '../support/gate.ts'

let denying: Uint8Array
beforeAll(async () => {
  denying = await compiled('decision := {"effect": "deny", "reasons": ["no"]} if input.version == 1')
}, 60_000)

let open: Shadow | undefined
afterEach(() => open?.close())

function started() {
  const lines: Record<string, unknown>[] = []
  const audit: AuditSink = {
    append: (record) => void lines.push(JSON.parse(record)),
    appendDurably: async () => undefined,
    fault: () => undefined,
    close: async () => undefined,
  }
  const metrics = createMetrics({ backends: [], version: '1.2.3' })
  const shadow = createShadow({
    audit,
    metrics,
    log: createLogger({ level: 'error', target: { write() {} } }),
  })
  open = shadow
  return { shadow, lines, body: async () => (await metrics.render()).body }
}

const trail = {
  decisionId: 'dec_1',
  policyDigest: 'sha256:live',
  consultation: { input: '{"version":1}', answer: { effect: 'allow', reasons: [] } },
} as const

it('a flood of differences is counted whole and written in part, and the next line says how many were not', async () => {
  const { shadow, lines, body } = started()
  shadow.candidate({ type: 'reloaded', digest: 'sha256:next' }, { wasm: denying, data: {} })
  for (let n = 0; n < 200; n++) shadow.finished(trail)
  const counted = (count: number) => async () =>
    (await body()).includes(
      `leasegate_shadow_differences_total{source="candidate",live="allow",shadow="deny"} ${count}\n`,
    )
  await eventually(counted(200), '200 differences')
  const written = () => lines.filter(({ event }) => event === 'shadow')
  expect(written().length).toBeLessThan(200)
  // The bound is on each second: the next one has room for the line that tells of the rest.
  await sleep(1100)
  shadow.finished(trail)
  await eventually(counted(201), 'the last difference')
  const omitted = written().reduce((sum, line) => sum + Number(line.omitted ?? 0), 0)
  expect(omitted).toBeGreaterThan(0)
  expect(omitted + written().length).toBe(201)
})

it('rules in shadow and a candidate run side by side, each under its name', async () => {
  const { shadow, lines, body } = started()
  shadow.live({ wasm: denying, shadow: denying, data: {} }, 'sha256:live')
  shadow.candidate({ type: 'reloaded', digest: 'sha256:next' }, { wasm: denying, data: {} })
  expect(shadow.status().map(({ source }) => source)).toEqual(['rule', 'candidate'])
  shadow.finished(trail)
  await eventually(() => lines.filter(({ event }) => event === 'shadow').length === 2, 'two differences')
  expect(
    lines
      .filter(({ event }) => event === 'shadow')
      .map(({ source }) => source)
      .toSorted(),
  ).toEqual(['candidate', 'rule'])
  shadow.live({ wasm: denying, data: {} }, 'sha256:next')
  expect(shadow.status().map(({ source }) => source)).toEqual(['candidate'])
  const text = await body()
  expect(text).toContain('leasegate_shadow_decisions_total{source="rule",result="different"} 1\n')
  expect(text).toContain('leasegate_shadow_decisions_total{source="candidate",result="different"} 1\n')
  expect(text).not.toContain('leasegate_shadow_running{source="rule"}')
})

it('nothing is asked, counted or written while nothing is in shadow, or where policy was not asked', async () => {
  const { shadow, lines, body } = started()
  shadow.finished(trail)
  shadow.candidate({ type: 'reloaded', digest: 'sha256:next' }, { wasm: denying, data: {} })
  shadow.finished({ ...trail, consultation: undefined })
  expect(lines.filter(({ event }) => event === 'shadow')).toEqual([])
  const counts = (await body()).match(/^leasegate_shadow_decisions_total.* (\d+)$/gm) ?? []
  expect(counts).toHaveLength(8)
  expect(counts.filter((line) => !line.endsWith(' 0'))).toEqual([])
})
