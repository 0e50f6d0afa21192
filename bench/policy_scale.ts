// In: the policy that ships. Out: what one decision takes once that policy has 200 rules and 500 operations,
// written in three ways: a rule per condition in one set, the same filed under their operations, one table.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadPolicy } from '../src/policy/evaluate.ts'
import { sampleInput } from '../src/policy/sample.ts'
import type { PolicySources } from '../src/policy/sources.ts'
import { runToolchain } from '../src/policy/toolchain.ts'
import { type Percentiles, percentiles, printTable, timeEach, writeResult } from './numbers.ts'

const backends = 10
const operationsEach = 50
const conditions = 180
const verbs = ['read', 'list', 'create', 'update', 'delete']
const shipped = readFileSync(join(import.meta.dirname, '../policies/authz.rego'), 'utf8')

interface Style {
  readonly name: string
  /** Rules that add to `deny_reasons` and to `refused`. */
  readonly rules: string
  readonly data?: object
}

/** One decision, microseconds, by the way the rules are written. */
export async function measurePolicyScale(count: number): Promise<Record<string, Percentiles>> {
  const inputs = allOperations().map(inputText)
  const results: Record<string, Percentiles> = {}
  for (const { name, rules, data } of [listed(), filed(), tabled()]) {
    const sources: PolicySources = {
      files: { 'authz.rego': withRefusals(rules) },
      data: { ...generatedData(), ...data },
    }
    const { wasm, diagnostics } = await runToolchain(sources, ['build'])
    if (wasm === undefined) throw new Error(JSON.stringify(diagnostics))
    const policy = await loadPolicy({ wasm, data: sources.data })
    const allowed = inputs.filter((input) => policy.evaluate(input).effect === 'allow')
    if (allowed.length !== inputs.length)
      throw new Error(`${name}: ${allowed.length} of ${inputs.length} allowed`)
    results[name] = percentiles(timeEach(count, (n) => policy.evaluate(inputs[n % inputs.length]!)))
  }
  printTable(
    ['500 operations, 200 rules', 'p50 µs', 'p99 µs'],
    Object.entries(results).map(([name, { p50, p99 }]) => [name, p50, p99]),
  )
  return results
}

/** The rules that ship, with one condition more in `permitted`: nothing refuses the request. */
function withRefusals(rules: string): string {
  return `${shipped.replace('\twithin_call_rate\n}', '\twithin_call_rate\n\tcount(refused) == 0\n}')}
deny_reasons contains reason if some reason in refused
${rules}`
}

const allOperations = () =>
  Array.from({ length: backends * operationsEach }, (_, n) => {
    const backend = `api-${n % backends}`
    const kind = Math.floor(n / backends)
    return { backend, operation: `POST /things-${kind}/{id}`, verb: verbs[kind % verbs.length]! }
  })
type AnOperation = ReturnType<typeof allOperations>[number]

function inputText({ backend, operation, verb }: AnOperation, n: number): string {
  const resource = `${backend}:thing/${n}`
  const { lease, request, context } = sampleInput
  return JSON.stringify({
    ...sampleInput,
    lease: {
      ...lease,
      stage: 'execute',
      granted: [{ actions: [verb], resource, sensitivity: 'confidential' }],
    },
    request: {
      ...request,
      backend,
      operation,
      verb,
      resource,
      method: 'POST',
      body: { amount: 20, currency: 'NOK' },
    },
    context: { ...context, provenance: 'trusted' },
  })
}

/** Profiles, groups and a thousand users, as a middling company would have them. */
function generatedData(): object {
  const everywhere = Object.fromEntries(
    Array.from({ length: backends }, (_, n) => [`api-${n}`, { verbs, ceiling: 'restricted' }]),
  )
  return {
    scale: { public: 0, internal: 1, confidential: 2, restricted: 3 },
    profiles: {
      support: {
        stages: ['observe', 'draft', 'execute'],
        backends: everywhere,
        calls_per_minute: { lease: 1e9, agent: 1e9 },
      },
    },
    groups: { support: { backends: everywhere } },
    users: Object.fromEntries([
      ['alice@example.com', { groups: ['support'] }],
      ...Array.from({ length: 1000 }, (_, n) => [`user-${n}@example.com`, { groups: ['support'] }]),
    ]),
    approvers: {},
  }
}

const conditioned = () => allOperations().slice(0, conditions)

function listed(): Style {
  const rules = conditioned().map(
    ({ backend, operation }, n) => `
refused contains "amount_above_${n}" if {
	input.request.backend == "${backend}"
	input.request.operation == "${operation}"
	input.request.body.amount > ${1000 + n}
}`,
  )
  return { name: 'each asks for its operation', rules: rules.join('\n') }
}

function filed(): Style {
  const rules = conditioned().map(
    ({ backend, operation }, n) => `
refusals["${backend}"]["${operation}"] contains "amount_above_${n}" if input.request.body.amount > ${1000 + n}
`,
  )
  return {
    name: 'filed under their operation',
    rules: `
refused contains reason if some reason in refusals[input.request.backend][input.request.operation]
${rules.join('')}`,
  }
}

function tabled(): Style {
  const limits: Record<string, Record<string, number>> = {}
  for (const [n, { backend, operation }] of conditioned().entries()) {
    limits[backend] = { ...limits[backend], [operation]: 1000 + n }
  }
  return {
    name: 'limits in a table of data/',
    rules: `
refused contains "amount_above_limit" if {
	input.request.body.amount > data.limits[input.request.backend][input.request.operation]
}`,
    data: { limits },
  }
}

if (import.meta.main) writeResult('policy_scale', { policy_scale_us: await measurePolicyScale(50_000) })
