// How asking for a lease or using one can end other than well. No error ever holds a token, a proof or a key
// (test/client/secrets.test.ts).
import type { ApprovalTask } from './task.ts'

/** One alternative of a lease (RFC 9396), as it is asked for and granted. */
export interface LeaseDetail {
  readonly type: 'lease'
  readonly actions: readonly string[]
  readonly identifier: string
  readonly sensitivity?: string
  readonly constraints?: Readonly<Record<string, unknown>>
}

/** What is known about a "no". */
export interface RefusalFacts {
  /** `outside_lease`, `policy_denied`, `invalid_authorization_details`, … (docs/refusals.md). */
  readonly code: string
  readonly status: number
  readonly reasons: readonly string[]
  /** `request` a wider lease or an approval, `retry` later, or `none`: it will not become a yes. */
  readonly nextAction: 'request' | 'retry' | 'none'
  /** Finds the audit record. */
  readonly decisionId: string | undefined
  /** The lease that would have been enough. */
  readonly missing: readonly LeaseDetail[]
  /** Seconds to wait before another attempt, where the answer says so. */
  readonly retryAfter: number | undefined
}

/** The gate or the broker said no, and asking again would not help without somebody's help. */
export class LeaseRefused extends Error implements RefusalFacts {
  override readonly name: string = 'LeaseRefused'
  readonly code: string
  readonly status: number
  readonly reasons: readonly string[]
  readonly nextAction: RefusalFacts['nextAction']
  readonly decisionId: string | undefined
  readonly missing: readonly LeaseDetail[]
  readonly retryAfter: number | undefined

  constructor(detail: string, facts: RefusalFacts) {
    super(`${facts.code}: ${detail}`)
    this.code = facts.code
    this.status = facts.status
    this.reasons = facts.reasons
    this.nextAction = facts.nextAction
    this.decisionId = facts.decisionId
    this.missing = facts.missing
    this.retryAfter = facts.retryAfter
  }
}

/** A human has to say yes first, and nobody has in the time that was given. */
export class ApprovalRequired extends LeaseRefused {
  override readonly name = 'ApprovalRequired'
  /** What waits: the same call, sent again, goes on with it. Undefined: nothing does. */
  readonly task: ApprovalTask | undefined

  constructor(detail: string, facts: RefusalFacts, task?: ApprovalTask) {
    super(detail, facts)
    this.task = task
  }
}

/** A human has said no. */
export class ApprovalRefused extends LeaseRefused {
  override readonly name = 'ApprovalRefused'
  /** In their words; undefined: they gave none. */
  readonly reason: string | undefined

  constructor(detail: string, facts: RefusalFacts, reason?: string) {
    super(detail, facts)
    this.reason = reason
  }
}

/** The broker or the gate cannot be reached, or gave an answer that is none of theirs. */
export class LeaseUnavailable extends Error {
  override readonly name = 'LeaseUnavailable'
}
