// In: claims of a proven token. Out: which agent acts, undefined when a workflow acts for itself, or the
// refusal of a broken delegation (RFC 8693 §4.1, actor-profile draft). Pure.
import type { Refusal } from '../refusals.ts'
import { fault } from './faults.ts'
import type { IssuerProfile } from './profile.ts'
import { at, isObject, isPlainText, own } from './text.ts'

type Claims = Record<string, unknown>

/**
 * The acting agent. Every `act`, nested ones too, needs `sub` and `iss`; at most `maxActDepth` of them. An
 * actor is the pair of both, so one of another issuer is named `iss#sub` and never passes for one of ours.
 * Without an actor the subject has to be a workflow. Where the profile takes the agent from another claim,
 * that claim names it, and an `act` beside it still has to be whole.
 */
export function readActor(claims: Claims, profile: IssuerProfile): string | undefined | Refusal {
  const act = own(claims, 'act')
  if (act !== undefined) {
    const broken = brokenChain(act, profile.maxActDepth)
    if (broken !== undefined) return broken
  }
  const named = at(claims, profile.claims.agent)
  if (named === undefined && act === undefined) {
    return isWorkflow(claims, profile) ? undefined : fault('act_missing')
  }
  if (!isPlainText(named)) return fault('act_malformed')
  const foreign = profile.claims.agent === 'act.sub' && isObject(act) && own(act, 'iss') !== profile.issuer
  return foreign ? `${String(own(act, 'iss'))}#${named}` : named
}

function brokenChain(act: unknown, maxDepth: number): Refusal | undefined {
  let depth = 0
  for (let link: unknown = act; link !== undefined; link = own(link, 'act')) {
    depth++
    if (depth > maxDepth) return fault('act_too_deep')
    if (!isObject(link)) return fault('act_malformed')
    if (!isPlainText(own(link, 'sub')) || !isPlainText(own(link, 'iss'))) return fault('act_malformed')
    const kind = own(link, 'sub_profile')
    if (kind !== undefined && !isPlainText(kind)) return fault('act_malformed')
  }
  return undefined
}

function isWorkflow(claims: Claims, profile: IssuerProfile): boolean {
  const subject = own(claims, 'sub')
  return typeof subject === 'string' && profile.workflows.some((prefix) => subject.startsWith(prefix))
}
