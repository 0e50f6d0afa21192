// What the broker proposes to policy and then makes a lease of: every fact proven, every value read. Plain data
// that survives JSON, so that it can wait for a human (deferred.ts). Never holds a token, a proof or a code.
import type { LeaseDetail } from '../lease/allow.ts'
import type { StatusReference } from '../lease/claims.ts'
import { defaultLeaseSeconds } from '../lease/issue.ts'
import type { Binding, DelegatingAgent, Stage, Task } from '../lease/lease.ts'
import { firstBeyond } from '../lease/subset.ts'
import type { LeaseRecord } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { Ask } from './ask.ts'
import type { IssueQuestion } from './issue_decision.ts'

/** The lease that is renewed or handed on. */
export type ParentLease = NonNullable<IssueQuestion['parent']>

export interface Proposal {
  readonly kind: IssueQuestion['kind']
  /** The agent that gets the lease, and how it has proven itself. */
  readonly clientId: string
  readonly authenticatedBy: string
  readonly instance: string
  /** The key that its tokens are bound to; undefined: bearer. */
  readonly binding: Binding | undefined
  readonly user: IssueQuestion['user']
  readonly login: LeaseRecord['login']
  readonly session: string
  readonly task: Task | undefined
  readonly audience: string
  readonly backends: readonly string[]
  readonly details: Ask['details']
  readonly scopes: Ask['scopes']
  readonly stage: Stage
  readonly ttlSeconds: number | undefined
  readonly leaseSeconds: number
  readonly deferrable: boolean
  /** Nothing that is not within each of these is granted. */
  readonly bounds: readonly (readonly LeaseDetail[])[]
  /** The lease ends then at the latest: with its parent, or with the token that speaks for its user. */
  readonly notAfter: number
  readonly parent: ParentLease | undefined
  readonly delegatedBy: readonly DelegatingAgent[]
  readonly ancestors: readonly string[]
  /** Of the lease that is renewed: each of its tokens has the same. */
  readonly status: StatusReference | undefined
}

/** The members that an ask gives as they stand. */
export function termsOf(ask: Ask) {
  const { audience, backends, details, scopes, ttlSeconds, deferrable, task } = ask
  const leaseSeconds = ask.leaseSeconds ?? defaultLeaseSeconds
  const stage = ask.stage ?? 'observe'
  return { audience, backends, details, scopes, ttlSeconds, deferrable, task, leaseSeconds, stage } as const
}

/** The refusal of details that were asked for exactly and lie beyond a bound; says which. */
export function refuseBeyond({ details, bounds }: Pick<Proposal, 'details' | 'bounds'>): Refusal | undefined {
  for (const bound of bounds) {
    const beyond = details === undefined ? undefined : firstBeyond(details, bound)
    if (beyond !== undefined) return refuseDetail(beyond)
  }
  return undefined
}

/** The refusal that names the one detail that is not covered. */
export function refuseDetail({ actions, identifier, sensitivity, constraints }: LeaseDetail): Refusal {
  const limits = Object.entries(constraints ?? {}).map(([key, limit]) => `, ${key} ${limit}`)
  return refuse('invalid_authorization_details', {
    detail: `not covered: ${actions.join(',')} ${identifier} up to ${sensitivity}${limits.join('')}`,
  })
}
