// In: a policy and inputs. Out: what it answers in the engine that serves, how OPA's engine came to it, what
// the built-in check of grants says, and the smallest changes that would make it a yes. Never forwards, never
// writes, never answers for a real request.
import { grantCoversRequest } from '../enforce/checks.ts'
import type { PolicyAnswer } from '../ports.ts'
import type { Refusal } from '../refusals.ts'
import { asked } from './asked.ts'
import { dataCandidates } from './data_candidates.ts'
import { PolicyError } from './diagnostic.ts'
import { ask, type Engine, openEngine, type PolicyModule, policyDigest, readAnswer } from './evaluate.ts'
import type { PolicyInput } from './input_schema.ts'
import { leaseCandidates } from './lease_candidates.ts'
import { type Search, smallestChanges } from './smallest_change.ts'
import type { PolicySources } from './sources.ts'
import { runToolchain } from './toolchain.ts'
import type { Trace } from './trace.ts'

/** Everything there is to say about one decision. */
export interface Explanation {
  /** Of the Wasm module, which is what a gate would get. */
  readonly answer: PolicyAnswer
  /** What OPA's engine answers, where that is something else. */
  readonly otherAnswer?: PolicyAnswer
  /** Of the policy that was asked, with its data. */
  readonly digest: string
  /** Why the gate would not even ask policy: no grant covers the request. */
  readonly uncovered?: Refusal
  /** Absent for a module compiled elsewhere: there are no rules to tell about. */
  readonly trace?: Trace
  /** Absent where the gate would let the request pass. */
  readonly search?: Search
}

/** Explains inputs, in order. Throws `PolicyError` for a policy that cannot be compiled. */
export async function explain(
  sources: PolicySources,
  inputs: readonly PolicyInput[],
): Promise<readonly Explanation[]> {
  const { traces, ...compiled } = await compile(sources, inputs)
  const module = { ...compiled, data: sources.data }
  const engine = await openEngine(module)
  const digest = policyDigest(module)
  return inputs.map((input, at) => {
    const trace = traces?.[at]
    const answer = ask(engine, JSON.stringify(input))
    const uncovered = grantCoversRequest(asked(input))
    const allowed = answer.effect === 'allow' && uncovered === undefined
    return {
      answer,
      digest,
      ...(uncovered === undefined ? {} : { uncovered }),
      ...(trace === undefined ? {} : { trace, ...otherAnswer(trace, answer) }),
      ...(allowed ? {} : { search: searched(engine, { sources, input, answer, trace }) }),
    }
  })
}

async function compile(
  sources: PolicySources,
  inputs: readonly PolicyInput[],
): Promise<Pick<PolicyModule, 'wasm' | 'shadow'> & { traces?: readonly Trace[] }> {
  if (sources.wasm !== undefined) return { wasm: sources.wasm }
  const asked = { ...sources, inputs }
  const { diagnostics, wasm, shadow, explanations: traces } = await runToolchain(asked, ['build', 'explain'])
  if (diagnostics.length > 0) throw new PolicyError(diagnostics)
  if (wasm === undefined || traces?.length !== inputs.length) {
    throw new Error('the Rego toolchain gave no explanation')
  }
  return { wasm, traces, ...(shadow === undefined ? {} : { shadow }) }
}

interface Asking {
  readonly sources: PolicySources
  readonly input: PolicyInput
  readonly answer: PolicyAnswer
  readonly trace: Trace | undefined
}

function searched(engine: Engine, { sources, input, answer, trace }: Asking): Search {
  const { data } = sources
  const explained = { trace: trace ?? { rules: [], incomplete: false }, input, data, answer }
  const candidates = [...leaseCandidates(explained), ...dataCandidates(explained)]
  return smallestChanges({ engine, input, data }, candidates)
}

/** The two engines agree, but for builtins that differ at an edge: that is worth knowing before all else. */
function otherAnswer(trace: Trace, answer: PolicyAnswer): Pick<Explanation, 'otherAnswer'> {
  // Each has words of its own for a failure, and a trace that was cut short says nothing.
  if (trace.fault !== undefined && answer.fault !== undefined) return {}
  if (trace.incomplete && trace.result === undefined) return {}
  const other = readAnswer(trace.result === undefined ? [] : [{ result: trace.result }])
  return JSON.stringify(other) === JSON.stringify(answer) ? {} : { otherAnswer: other }
}
