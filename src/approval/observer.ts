// What deciding tells about itself: one record for each attempt of a person or a program, whatever became of it.
// telemetry/approval.ts implements it. Never: the bytes of a call, an assertion of a passkey.
import type { Refusal } from '../refusals.ts'
import type { Action, Person } from './action.ts'
import type { Repeat } from './repeats.ts'
import type { LeaseRequest } from './requests.ts'

/** What somebody can do about what waits, and about what was granted. */
export type DecisionVerb = 'approve' | 'refuse' | 'withdraw' | 'revoke_repeat'

/** One attempt to decide, as far as it came. */
export interface DecisionTrail {
  /** `dec_…` */
  readonly decisionId: string
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly verb: DecisionVerb
  /** Of the connection's other end. */
  readonly peer: string
  /** Who proved who they are, and how; undefined: nobody. */
  readonly by:
    | (Pick<Person, 'user' | 'issuer' | 'subject'> & { readonly how: 'session' | 'token' })
    | undefined
  /** The id in the path, known or not. */
  readonly id: string
  /** As it came: nothing in it is believed. Undefined: not read. */
  readonly body: unknown
  /** What it was about, as it is now; undefined: nothing that they may know. */
  about: Action | LeaseRequest | undefined
  /** The repeat that was granted or revoked. */
  repeat: Repeat | undefined
  /** What showed that it was them. */
  shownBy: string | undefined
  /** False: it was so already, or it was refused. */
  changed: boolean
}

/** What nobody decided in time, or nobody used. */
export interface Expired {
  readonly about: Action | LeaseRequest
  readonly was: 'pending' | 'approved'
  /** Seconds since 1970. */
  readonly at: number
}

export interface DecisionObserver {
  /** Once for all processes. */
  expired(expired: Expired): void
  /** Once per attempt, refused ones too. */
  decided(trail: DecisionTrail, refusal: Refusal | undefined): void
  /** Why attempts cannot be recorded now: then nobody says yes. Undefined while all is well. */
  fault(): string | undefined
}
