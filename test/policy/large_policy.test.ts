// The two ways to write a condition in docs/policy-loop.md, as they stand there: both compile, and both decide
// alike. What they cost is measured in bench/policy_scale.ts.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadPolicy } from '../../src/policy/evaluate.ts'
import { compiled, reading } from './support.ts'

const document = readFileSync(join(import.meta.dirname, '../../docs/policy-loop.md'), 'utf8')
const cost = document.slice(document.indexOf('## Cost'), document.indexOf('## In an editor'))
const ways = [...cost.matchAll(/```rego\n([\s\S]*?)```/g)].map(([, rules]) => rules!)
const decision = 'decision := {"effect": "allow", "reasons": refused}\n'

const refund = (body: unknown, operation = 'POST /refunds/{id}') =>
  JSON.stringify({ ...reading, request: { ...reading.request, backend: 'shop', operation, body } })

describe('a condition of one operation', () => {
  it('is shown in two ways', () => expect(ways).toHaveLength(2))

  it.each(ways.map((rules, at) => [['asked by every request', 'filed under its operation'][at]!, rules]))(
    '%s holds for that operation only, and fails closed',
    async (_name, rules) => {
      const policy = await loadPolicy({ wasm: await compiled(`${decision}\n${rules}`), data: {} })
      const reasons = (input: string) => policy.evaluate(input).reasons
      expect(reasons(refund({ amount: 1000 }))).toEqual([])
      expect(reasons(refund({ amount: 1001 }))).toEqual(['amount_above_limit'])
      expect(reasons(refund({}))).toEqual(['amount_above_limit'])
      expect(reasons(refund({ amount: 1001 }, 'GET /refunds/{id}'))).toEqual([])
      expect(reasons(JSON.stringify(reading))).toEqual([])
    },
  )
})
