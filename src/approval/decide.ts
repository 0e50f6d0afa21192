// Yes, no, and taking a yes back: every step of a person on an action. In: who, on which fingerprint, the ports. Out:
// the action as it is now, or the refusal. Each step is one compare-and-set: the action, the repeat that comes with
// it and the count of who decides change together or not at all.
import type { Records, RecordWrite } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import type { Action, Person, Yes } from './action.ts'
import { countDecision } from './habits.ts'
import { namedAs } from './people.ts'
import { getRepeat, granted, repeatOf, writeRepeat } from './repeats.ts'
import { type Behind, type KnownPerson, needsReason, refuseApprover, refuseReason, whyNot } from './rules.ts'
import {
  knowPerson,
  ownYes,
  peopleBehind,
  refuseEnded,
  type Standing,
  type StandingSources,
  standingOf,
} from './standing.ts'
import { change, type Decided, refuseState, type Step, withoutRepeat } from './step.ts'

/** What deciding reads and writes. */
export interface DecisionSources extends StandingSources {
  readonly records: Records
  /** What tells people that an action has been decided, written with the decision. */
  readonly noticesOf: (action: Action) => readonly RecordWrite[]
}

/** What a person says, about what they were shown. */
export interface Said {
  readonly id: string
  readonly fingerprint: string
  readonly reason: string | undefined
  /** Seconds since 1970. */
  readonly now: number
}

/** A yes. */
export interface SaidYes extends Said {
  /** How it is shown that it is them; asked for once everything else holds, and not for a yes that stands already. */
  readonly confirm: (action: Action) => Promise<Yes['shownBy'] | Refusal>
  readonly repeat: Yes['repeat']
}

/**
 * Says yes. In order: who may, the same fingerprint as shown, still undecided, a lease that goes on, bytes that can be
 * shown, the reason, the bounds of a repeat, the confirmation. The yes that completes the quorum approves. A second yes
 * of one person changes nothing. Throws `Unavailable`; then it may have been written, and can be said again.
 */
export async function approve(
  person: Person,
  said: SaidYes,
  sources: DecisionSources,
): Promise<Decided | Refusal> {
  const known = await knowPerson(person, sources.leases)
  let shownBy: Yes['shownBy'] | undefined
  return change(said.id, sources, async ({ action }) => {
    const standing = await standingOf(action, sources, said.now)
    const problem = refuseYes(action, standing, known, said)
    if (problem !== undefined) return problem
    if ((await ownYes(known, action.yes, sources.leases)) !== undefined) return { next: action }
    if (shownBy === undefined) {
      const confirmed = await said.confirm(action)
      if (isRefusal(confirmed)) return confirmed
      shownBy = confirmed
    }
    return yesStep(action, standing, { by: person, shownBy, said }, sources.records)
  })
}

/** Why this yes is none; undefined: it is one. */
function refuseYes(
  action: Action,
  standing: Standing,
  known: KnownPerson,
  said: SaidYes,
): Refusal | undefined {
  const problem = refuseDecision(action, standing.behind, known, said) ?? refuseState(action, said.now)
  if (problem !== undefined) return problem
  const ended = refuseEnded(action, standing, said.now)
  if (ended !== undefined) return ended
  if (standing.call === undefined) {
    // Its key has changed, or it is gone: nobody can be shown what they would agree to.
    const detail = 'what was sent cannot be shown any more'
    return refuse('action_state_conflict', { detail, reasons: ['unreadable'] })
  }
  return refuseReason(said.reason, needsReason(action)) ?? refuseRepeat(action, said.repeat)
}

/** Who may decide, on exactly what they were shown. */
function refuseDecision(
  action: Action,
  behind: Behind,
  known: KnownPerson,
  { fingerprint }: Said,
): Refusal | undefined {
  const why = whyNot(known, action.terms, behind)
  if (why !== undefined) return refuseApprover(why)
  if (action.fingerprint === fingerprint) return undefined
  const detail = 'it has changed since you were shown it: look at it again'
  return refuse('action_state_conflict', { detail, reasons: ['changed'] })
}

/** What policy lets be repeated is all that a person can. */
function refuseRepeat({ kind, terms }: Action, repeat: Yes['repeat']): Refusal | undefined {
  if (repeat === undefined) return undefined
  const { calls, seconds } = repeat
  const isCount = [calls, seconds].every((count) => Number.isSafeInteger(count) && count >= 1)
  if (!isCount) {
    const detail = 'write a repeat as whole numbers of calls and seconds'
    return refuse('malformed_request', { detail, reasons: ['repeat_malformed'] })
  }
  const most = kind === 'draft' ? undefined : terms.repeat
  if (most !== undefined && calls <= most.calls && seconds <= most.seconds) return undefined
  const detail =
    most === undefined
      ? 'policy lets nobody have this repeated'
      : `policy lets it be repeated ${most.calls} times within ${most.seconds} seconds at most`
  return refuse('approver_not_allowed', { detail, reasons: ['repeat_not_allowed'] })
}

async function yesStep(
  action: Action,
  { leaseEndsAt }: Standing,
  { by, shownBy, said }: { readonly by: Person; readonly shownBy: Yes['shownBy']; readonly said: SaidYes },
  records: Records,
): Promise<Step> {
  const { now, reason = '', repeat: asked } = said
  const { user, issuer, subject } = by
  const as = namedAs(by, action.terms.approvers) ?? ''
  const mine: Yes = {
    by: { user, issuer, subject },
    as,
    at: now,
    reason,
    shownBy,
    ...(asked && { repeat: asked }),
  }
  const yes = [...action.yes, mine]
  const isComplete = action.state === 'pending' && yes.length >= action.terms.quorum
  const next: Action = { ...action, yes, ...(isComplete && { state: 'approved' }) }
  const counted = await countDecision(records, by, 'yes', action, now)
  const bounds = isComplete ? granted(yes) : undefined
  if (bounds === undefined) return { next, also: [counted] }
  const repeat = repeatOf(next, bounds, { leaseEndsAt, now })
  const before = await getRepeat(records, repeat.id)
  return { next, also: [counted, writeRepeat(repeat, before?.version ?? 0)], repeat }
}

/**
 * Says no, which ends it: one eligible person is enough, before or after the quorum. The reason goes back to the agent.
 * A second no changes nothing. Throws `Unavailable`; then it may have been written, and can be said again.
 */
export async function refuseAction(
  person: Person,
  said: Said,
  sources: DecisionSources,
): Promise<Decided | Refusal> {
  const known = await knowPerson(person, sources.leases)
  return change(said.id, sources, async ({ action }) => {
    const behind = await peopleBehind(action, sources)
    const problem = refuseDecision(action, behind, known, said) ?? refuseReason(said.reason, false)
    if (problem !== undefined) return problem
    if (action.state === 'refused') return { next: action }
    const late = refuseState(action, said.now)
    if (late !== undefined) return late
    const { now, reason = '' } = said
    const next: Action = { ...action, state: 'refused', ended: { by: person.user, at: now, reason } }
    const counted = await countDecision(sources.records, person, 'no', action, now)
    return withoutRepeat(next, [counted], { by: person.user, at: now, reason }, sources.records)
  })
}

/**
 * Takes one's own yes back, until it is used; without enough others it is pending again, and the repeat that came
 * with it is over. Nothing changes where no yes of theirs stands. Throws `Unavailable`.
 */
export async function withdraw(
  person: Person,
  said: Said,
  sources: DecisionSources,
): Promise<Decided | Refusal> {
  const known = await knowPerson(person, sources.leases)
  return change(said.id, sources, async ({ action }) => {
    const mine = await ownYes(known, action.yes, sources.leases)
    const behind = await peopleBehind(action, sources)
    // Whoever has said yes may take it back, though policy would not ask them today.
    const stranger = mine === undefined ? refuseDecision(action, behind, known, said) : undefined
    const problem = stranger ?? refuseState(action, said.now) ?? refuseReason(said.reason, false)
    if (problem !== undefined) return problem
    if (mine === undefined) return { next: action }
    const yes = action.yes.filter((each) => each !== mine)
    const state = yes.length >= action.terms.quorum ? 'approved' : 'pending'
    const ended = { by: person.user, at: said.now, reason: said.reason ?? '' }
    return withoutRepeat({ ...action, yes, state }, [], ended, sources.records)
  })
}
