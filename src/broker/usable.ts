// In: what an unbound lease would hold. Out: the refusal where a gate would take it for less than was asked, or for
// nothing, because the backend wants a bound token (`require_binding`). Pure. Grants nothing.
import { needsBinding } from '../enforce/checks.ts'
import type { Backend, Operation } from '../enforce/operation.ts'
import type { LeaseDetail } from '../lease/allow.ts'
import { risks, sensitivityCovers } from '../lease/lease.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { backendOf } from './ask.ts'
import type { Proposal } from './proposal.ts'

/** A backend as far as the broker has to know it. */
export type GuardedBackend = Pick<Backend, 'requireBinding' | 'operations'>

/**
 * Details that were asked for by name are of use as a whole or not at all. Where the client left them to policy,
 * one operation that takes a bearer token is enough.
 */
export function refuseUnusable(
  { binding, details: asked }: Pick<Proposal, 'binding' | 'details'>,
  details: readonly LeaseDetail[],
  backends: ReadonlyMap<string, GuardedBackend>,
): Refusal | undefined {
  if (binding !== undefined) return undefined
  const reached = details.flatMap((detail) => {
    const { operations = [], requireBinding = 'never' } = backends.get(backendOf(detail.identifier)) ?? {}
    return operations
      .filter((operation) => reaches(detail, operation))
      .map((operation) => ({ detail, operation, bound: needsBinding(requireBinding, operation) }))
  })
  const barred = reached.find(({ bound }) => bound)
  if (barred === undefined || (asked === undefined && reached.some(({ bound }) => !bound))) return undefined
  const { detail, operation } = barred
  return refuse('invalid_dpop_proof', {
    detail: `${operation.verb} on ${backendOf(detail.identifier)} needs a bound lease: send a DPoP proof`,
    reasons: ['binding_required'],
  })
}

/** Whether a detail covers some call of an operation. */
function reaches(
  { actions, identifier, sensitivity, constraints }: LeaseDetail,
  { verb, resource, sensitivity: wanted, risk }: Operation,
): boolean {
  return (
    (actions.includes(verb) || actions.includes('*')) &&
    sensitivityCovers(sensitivity, wanted) &&
    risks.indexOf(constraints?.max_risk ?? 'high') >= risks.indexOf(risk) &&
    mayName(identifier.slice(identifier.indexOf(':') + 1), resource)
  )
}

/** Whether an identifier covers some resource of a template: a part with a parameter may be anything. */
function mayName(identifier: string, template: string): boolean {
  const wanted = identifier.split('/')
  const parts = template.split('/')
  const open = wanted.at(-1) === '*'
  if (open) wanted.pop()
  if (open ? parts.length <= wanted.length : parts.length !== wanted.length) return false
  return wanted.every((segment, at) => parts[at] === segment || parts[at]?.includes('{') === true)
}
