// START HERE: who may decide on what waits for a human, and with which words. In: a person, the terms that policy
// stated, who stands behind the lease. Out: why not, or nothing. Pure; each rule can only say no.
import { isPlainText } from '../lease/text.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { Action, Person, Yes } from './action.ts'
import { foldName, type Identity, isSameLogin, isSamePerson, namedAs } from './people.ts'
import type { Terms } from './terms.ts'

/** Who stands behind a lease, or behind the request for one: nobody of them decides on it. */
export interface Behind {
  /** The user as the lease names them. */
  readonly user: string
  /** The user as the identity provider knows them; undefined: no provider spoke for them here. */
  readonly login: Pick<Identity, 'issuer' | 'subject'> | undefined
  /** The agent that acts, and everybody who handed the lease on. */
  readonly delegates: readonly string[]
}

/** A person, and further names that leases have for their login. */
export interface KnownPerson {
  readonly person: Person
  readonly aliases: readonly string[]
}

/** Why somebody may not decide. */
export type WhyNot = 'not_named' | 'requester' | 'delegate'

/**
 * Why this person may not decide on it, whatever its state; undefined: they may. In order: the user of the lease never
 * does, nor does a delegate, by whatever spelling or login; and whoever does is named by policy.
 */
export function whyNot(
  { person, aliases }: KnownPerson,
  { approvers }: Pick<Terms, 'approvers'>,
  { user, login, delegates }: Behind,
): WhyNot | undefined {
  const names = new Set([person.user, ...aliases].map(foldName))
  if (names.has(foldName(user)) || (login !== undefined && isSameLogin(login, person))) return 'requester'
  if (delegates.some((each) => spellings(each).some((name) => names.has(foldName(name))))) return 'delegate'
  return namedAs(person, approvers) === undefined ? 'not_named' : undefined
}

/** Who said yes, and as whom. */
export type Voice = Pick<Yes, 'by' | 'as'>

/** Those that count under terms; policy may have changed since they were said. */
export function counting<V extends Voice>(yes: readonly V[], { approvers }: Pick<Terms, 'approvers'>): V[] {
  return yes.filter(({ as }) => approvers.includes(as))
}

/** Whether as many different people have said yes as terms ask for. */
export function areEnough(yes: readonly Voice[], terms: Pick<Terms, 'approvers' | 'quorum'>): boolean {
  const count = counting(yes, terms)
  const people = count.filter(
    ({ by }, at) => !count.slice(0, at).some((earlier) => isSamePerson(earlier.by, by)),
  )
  return people.length >= terms.quorum
}

/** An agent is called `agent:triage` or `triage`. */
function spellings(name: string): string[] {
  return [name, name.replace(/^agent:/, '')]
}

const told: Readonly<Record<WhyNot, string>> = {
  not_named: 'policy does not name you for this',
  requester: 'nobody decides on what is done in their own name',
  delegate: 'nobody decides on what they have a part in',
}

/** The refusal of whoever may not decide. */
export function refuseApprover(why: WhyNot): Refusal {
  return refuse('approver_not_allowed', { detail: told[why], reasons: [why] })
}

/** Characters of a reason at most. */
export const maxReason = 500

/** Whether a yes to it needs a reason. */
export function needsReason({ what, terms }: Pick<Action, 'what' | 'terms'>): boolean {
  return terms.reasonRequired || what.risk === 'high'
}

/** The refusal of a reason that is missing, or that could look like something else where people read it. */
export function refuseReason(reason: string | undefined, required: boolean): Refusal | undefined {
  if (reason === undefined) {
    if (!required) return undefined
    return refuse('malformed_request', { detail: 'give a reason', reasons: ['reason_required'] })
  }
  if (isPlainText(reason, maxReason)) return undefined
  const detail = `write the reason on one line, ${maxReason} characters at most`
  return refuse('malformed_request', { detail, reasons: ['reason_malformed'] })
}
