// In: nothing. Out: how long the dearest policies that fit the limits hold the event loop: comprehensions over
// every pair of the items of one request body, in inputs up to the largest that is evaluated (1 MiB).
import { loadPolicy, maxInputBytes } from '../src/policy/evaluate.ts'
import { sampleInput } from '../src/policy/sample.ts'
import { runToolchain } from '../src/policy/toolchain.ts'
import { printTable, writeResult } from './numbers.ts'

/**
 * By what they do with the items of one body; no condition is ever met, so nothing ends early. The first runs out
 * of memory long before it is through, at any size; the second does not, and four times the input is sixteen times
 * the time, so it is not run at sizes that take minutes.
 */
const cases = [
  {
    what: 'every pair of items',
    comprehension: '[1 | some a in input.request.body; some b in input.request.body; a + b == 99]',
    kib: [16, 64, maxInputBytes / 1024],
  },
  {
    what: 'every item searched for in all',
    comprehension: '[1 | some a in input.request.body; (a + 10) in input.request.body]',
    kib: [4, 16, 64],
  },
  {
    what: 'the same with a set',
    comprehension:
      '[1 | all := {b | some b in input.request.body}; some a in input.request.body; (a + 10) in all]',
    kib: [64, 256, maxInputBytes / 1024],
  },
] as const

function regoOf(comprehension: string): string {
  return `package leasegate.authz

default decision := {"effect": "deny", "reasons": []}

decision := {"effect": "allow", "reasons": []} if count(${comprehension}) == 0
`
}

/** The sample input with as many numbers in its body as fit into `bytes`. */
function inputOf(bytes: number): { readonly input: string; readonly items: number } {
  const rest = JSON.stringify({ ...sampleInput, request: { ...sampleInput.request, body: [] } }).length
  const items = Math.floor((bytes - rest) / 2)
  const body = Array.from({ length: items }, (_, n) => n % 10)
  return { input: JSON.stringify({ ...sampleInput, request: { ...sampleInput.request, body } }), items }
}

interface Row {
  readonly what: string
  readonly input_bytes: number
  readonly items: number
  readonly seconds: number
  /** The effect, or why there is none. */
  readonly outcome: string
}

/** One evaluation of each comprehension for each size of its input. */
async function measureWorstCase(): Promise<Row[]> {
  const rows: Row[] = []
  for (const { what, comprehension, kib } of cases) {
    const files = { 'authz.rego': regoOf(comprehension) }
    const { wasm } = await runToolchain({ files, data: {} }, ['build'])
    if (wasm === undefined) throw new Error('the policy does not compile')
    const policy = await loadPolicy({ wasm, data: {} })
    for (const size of kib) {
      const { input, items } = inputOf(size * 1024)
      const began = performance.now()
      const { effect, fault } = policy.evaluate(input)
      const seconds = (performance.now() - began) / 1000
      rows.push({ what, input_bytes: input.length, items, seconds, outcome: fault ?? effect })
    }
  }
  printTable(
    ['comprehension', 'input KiB', 'items', 'seconds', 'outcome'],
    rows.map((row) => [
      row.what,
      Math.round(row.input_bytes / 1024),
      row.items,
      row.seconds.toFixed(3),
      row.outcome,
    ]),
  )
  return rows
}

if (import.meta.main) writeResult('worst_case', { rows: await measureWorstCase() })
