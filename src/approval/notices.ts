// Who is to be told that something waits, or what became of it. In: an event and the action. Out: the writes that
// make sure of it, for the same compare-and-set that changes the action: nobody is told of what has not happened, and
// what has happened is told. Sends nothing.
import type { RecordWrite } from '../ports.ts'
import type { Action, ActionFacts, ActionKind, ActionState } from './action.ts'

/** What somebody can be told of. */
export type NoticeEvent = 'approval.requested' | 'approval.decided' | 'draft.executed'

/**
 * What of an action a notice may say. An `Action` is one. Never a resource, a path, a query, a parameter, a byte of
 * the body, a purpose or a reason: notices leave the house.
 */
export interface NoticeSubject {
  readonly id: string
  /** `lease`: a request for a lease that waits. */
  readonly kind: ActionKind | 'lease'
  readonly state: ActionState
  readonly expiresAt: number
  /** Absent: it is not about one operation. */
  readonly what?: Pick<ActionFacts, 'backend' | 'operation' | 'verb' | 'risk' | 'sensitivity'>
  readonly lease: { readonly user: string; readonly agent: Pick<Action['lease']['agent'], 'id'> }
}

export interface Notices {
  /** One write for each place that is to be told of `event`; none where nobody is. Pure but for the clock and an id. */
  writes(event: NoticeEvent, subject: NoticeSubject): readonly RecordWrite[]
}
