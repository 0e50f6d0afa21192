// What issue policy is asked and what it answers (`data.leasegate.issue.decision`). Types only: policy/ asks
// it, exchange.ts acts on it, policies/issue.rego decides.
import type { LeaseDetail } from '../lease/allow.ts'
import type { Stage, Task } from '../lease/lease.ts'
import type { ApprovalTerms } from './deferred.ts'

/** Everything the decision to issue reads; policy/issue_input.ts makes its JSON text. Seconds. */
export interface IssueQuestion {
  /** `delegation`: an agent asks for a part of a lease that another agent hands on. */
  readonly kind: 'exchange' | 'delegation' | 'renewal'
  readonly user: {
    readonly id: string
    readonly kind: 'user' | 'workflow'
    readonly issuer: string
    readonly groups: readonly string[]
    readonly authTime: number | undefined
    readonly acr: string | undefined
  }
  readonly agent: {
    readonly id: string
    readonly version: string
    readonly env: string
    readonly profile: string
    readonly tenant: string
    readonly authenticatedBy: string
    /** The request came with a proof of possession. */
    readonly bound: boolean
  }
  readonly delegatedBy: readonly { readonly id: string; readonly version: string; readonly profile: string }[]
  readonly request: {
    /** Undefined: the client left it to policy. */
    readonly details: readonly LeaseDetail[] | undefined
    /** Backends that the lease is asked for: those of `details`, or of `resource` and `scope`. */
    readonly backends: readonly string[]
    readonly stage: Stage
    readonly ttlSeconds: number
    readonly leaseSeconds: number
    readonly task: Task | undefined
  }
  /** The lease it is renewed or handed on from. */
  readonly parent:
    | { readonly id: string; readonly stage: Stage; readonly details: readonly LeaseDetail[] }
    | undefined
  /** Who has said yes to exactly this request; undefined: nobody yet. */
  readonly approvedBy: readonly string[] | undefined
  readonly now: number
}

/** What policy grants. The broker holds it against request and parent once more: it can only narrow. */
export interface GrantTerms {
  readonly details: readonly LeaseDetail[]
  readonly stage: Stage
  readonly ttlSeconds: number
  readonly leaseSeconds: number
  /** Of the agent's profile, now. */
  readonly profileVersion: string
}

/** The code that a `deny` is answered with. */
export const denyCodes = [
  'access_denied',
  'invalid_request',
  'invalid_authorization_details',
  'invalid_scope',
  'invalid_target',
  'invalid_dpop_proof',
  'unauthorized_client',
] as const
export type DenyCode = (typeof denyCodes)[number]

/** A policy that gives no usable answer is `deny` with its `fault`. */
export type IssueAnswer =
  | { readonly effect: 'grant'; readonly reasons: readonly string[]; readonly grant: GrantTerms }
  | {
      readonly effect: 'approve'
      readonly reasons: readonly string[]
      readonly grant: GrantTerms
      readonly approval: ApprovalTerms
    }
  | {
      readonly effect: 'deny'
      readonly reasons: readonly string[]
      readonly code: DenyCode
      readonly fault?: string
    }

/** The live policy, asked about issuing. Synchronous and total. */
export interface IssuePolicy {
  /** Of the module and the data that answered. */
  readonly digest: string
  decide(question: IssueQuestion): IssueAnswer
}
