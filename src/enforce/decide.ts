// THE decision: evidence and policy in, a Permit or a refusal out. Pure, synchronous, total. The only
// place a Permit is made; the built-in checks (checks.ts) come first, then Rego.

import { policyInput } from '../policy/input.ts'
import type { Consultation, Policy } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { checks, coveringGrant } from './checks.ts'
import type { Decision, Evidence } from './stages.ts'

const mint = Symbol('mint')

/**
 * Proof that a request was allowed. Exported as a type only: nobody else can construct one, and `take`
 * lets it be committed once (test/enforce/permit.test.ts).
 */
class Permit {
  readonly #evidence: Evidence
  readonly #decision: Decision
  #taken = false

  constructor(key: symbol, evidence: Evidence, decision: Decision) {
    if (key !== mint) throw new Error('a permit is made by decide() alone')
    this.#evidence = evidence
    this.#decision = decision
  }

  get evidence(): Evidence {
    return this.#evidence
  }

  get decision(): Decision {
    return this.#decision
  }

  /** Marks the permit as used. Throws the second time: one decision, one request. */
  take(): void {
    if (this.#taken) throw new Error('a permit is good for one request')
    this.#taken = true
  }

  static owns(value: unknown): value is Permit {
    return typeof value === 'object' && value !== null && #evidence in value
  }
}

export type { Permit }

/** Whether `value` is a permit made here; a look-alike, a copy or a clone is not. */
export function isPermit(value: unknown): value is Permit {
  return Permit.owns(value)
}

/**
 * Decides. Runs the checks in order, then policy. Refuses with the code of the first check that does not
 * hold, else `policy_denied` or `approval_required`. A policy that gives no usable answer denies.
 */
export function decide(evidence: Evidence, policy: Policy): Permit | Refusal {
  for (const check of checks) {
    const refusal = check(evidence)
    if (refusal !== undefined) return refusal
  }
  const grant = coveringGrant(evidence.lease, evidence.mapped)
  if (grant === undefined) throw new Error('the checks passed without a covering grant')
  const input = policyInput(evidence)
  const answer = policy.evaluate(input)
  const consultation = { input, answer }
  if (answer.effect !== 'allow') return refusalOf(consultation, evidence)
  const decision: Decision = {
    effect: 'allow',
    reasons: answer.reasons,
    policyDigest: policy.digest,
    grant,
    consultation,
  }
  return new Permit(mint, evidence, decision)
}

function refusalOf(consultation: Consultation, evidence: Evidence): Refusal {
  const { answer } = consultation
  const facts = {
    consultation,
    reasons: answer.reasons,
    ...(answer.fault === undefined ? {} : { cause: `policy fault: ${answer.fault}` }),
  }
  switch (answer.effect) {
    case 'hold':
      return evidence.approval === undefined
        ? refuse('approval_required', { ...facts, detail: 'a human has to approve this exact action' })
        : refuse('policy_denied', { ...facts, detail: 'policy does not accept the approval' })
    case 'draft':
      return evidence.approval === undefined
        ? refuse('approval_required', { ...facts, detail: 'in stage draft a human has to release a write' })
        : refuse('policy_denied', { ...facts, detail: 'policy does not accept the release' })
    default:
      return refuse('policy_denied', facts)
  }
}
