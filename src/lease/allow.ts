// In: what an operator types after `--allow`. Out: the authorization detail it means, or what is wrong with
// it. The syntax is `VERB[,VERB] IDENTIFIER [SENSITIVITY]`. Pure.
import { isAction, isIdentifier, isSensitivity } from './details.ts'
import { type Risk, type Sensitivity, sensitivities } from './lease.ts'

/** What a grant may be limited by; the gate enforces each (enforce/checks.ts). */
export interface LeaseConstraints {
  /** Calls under the lease, all its tokens and all leases handed on from it together. */
  readonly max_calls?: number
  /** Operations above this risk are not covered. */
  readonly max_risk?: Risk
}

/** One entry of `authorization_details`, as issued. */
export interface LeaseDetail {
  readonly type: 'lease'
  readonly actions: readonly string[]
  readonly identifier: string
  readonly sensitivity: Sensitivity
  readonly constraints?: LeaseConstraints
}

export type Allow =
  | { readonly ok: true; readonly detail: LeaseDetail }
  | { readonly ok: false; readonly problem: string }

const syntax = "expected 'VERB[,VERB] IDENTIFIER [SENSITIVITY]', e.g. 'read,list crm:customer/*'"

/**
 * Parses `read,list crm:customer/9821`, `read crm:customer/* restricted` or, the same in more words,
 * `read crm:customer/* up to restricted`. Without a ceiling it is `confidential`.
 */
export function parseAllow(text: string): Allow {
  const words = text.trim().split(/\s+/u)
  const [verbs, identifier, ...rest] = words
  if (verbs === undefined || identifier === undefined) return wrong(syntax)
  const [ceiling = 'confidential', ...more] = rest[0] === 'up' && rest[1] === 'to' ? rest.slice(2) : rest
  if (more.length > 0 || rest.length === 2) return wrong(syntax)
  const actions = verbs.split(',')
  if (!actions.every(isAction)) return wrong(`'${verbs}' is not a list of verbs: ${syntax}`)
  if (new Set(actions).size !== actions.length) return wrong(`'${verbs}' names a verb twice`)
  if (!isIdentifier(identifier)) {
    return wrong(
      `'${identifier}' is not a resource: write backend:path or backend:path/*, e.g. crm:customer/9821`,
    )
  }
  if (!isSensitivity(ceiling)) return wrong(`'${ceiling}' is not one of ${sensitivities.join(', ')}`)
  return { ok: true, detail: { type: 'lease', actions, identifier, sensitivity: ceiling } }
}

function wrong(problem: string): Allow {
  return { ok: false, problem }
}
