// `/repeats` and `/approvers`: bounded repeats that people have granted, and how people decide. In: calls. Out:
// documents, or the refusal. A repeat that somebody may not see is answered as one that nobody knows.
import { listHabits } from '../approval/habits.ts'
import { isSamePerson, namedAs } from '../approval/people.ts'
import { repeatView } from '../approval/repeat_view.ts'
import { getRepeat, listRepeats, type Repeat, revokeRepeat } from '../approval/repeats.ts'
import { maxReason, refuseReason } from '../approval/rules.ts'
import { isObject } from '../lease/text.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { type ActionParts, deciders, isWithinTenant, lookers, placeText, readPage } from './action_parts.ts'
import { type Caller, hasRole, readers } from './caller.ts'
import type { ControlAnswer, ControlCall, Endpoint } from './control.ts'
import { type DecidingCall, deciding } from './deciding.ts'
import { orUnavailable } from './store_answer.ts'

type RepeatParts = Pick<ActionParts, 'sources' | 'clock' | 'observer'>

/** The endpoints. */
export function repeatEndpoints(parts: RepeatParts): Endpoint[] {
  const common = { takes: 'nothing', errors: 'problem' } as const
  return [
    {
      ...common,
      method: 'GET',
      path: '/repeats',
      access: [...lookers, 'operator'],
      serve: (call) => orUnavailable(list(call, parts)),
    },
    {
      ...common,
      method: 'POST',
      path: '/repeats/{id}/revoke',
      access: [...deciders, 'operator'],
      takes: 'json',
      ...deciding('revoke_repeat', parts, (call) => revoke(call, parts)),
    },
    {
      ...common,
      method: 'GET',
      path: '/approvers',
      access: lookers,
      serve: (call) => orUnavailable(approvers(call, parts)),
    },
  ]
}

async function list({ caller, query }: ControlCall, parts: RepeatParts) {
  if (caller === undefined) return refuse('operator_required')
  const page = readPage(query)
  if (isRefusal(page)) return page
  const { sources, clock } = parts
  const found = await listRepeats(sources.records, query.get('lease') ?? undefined, page)
  const seen = await Promise.all(found.map((repeat) => maySee(caller, repeat, sources)))
  const last = found.length === page.limit ? found.at(-1) : undefined
  const repeats = found.filter((_, at) => seen[at]).map((repeat) => repeatView(repeat, clock() / 1000))
  return { status: 200, body: { repeats, ...(last !== undefined && { next: placeText(last) }) } }
}

async function revoke(
  call: DecidingCall,
  { sources, observer }: RepeatParts,
): Promise<ControlAnswer | Refusal> {
  const { caller } = call
  if (caller === undefined) return refuse('operator_required')
  const id = call.params.id ?? ''
  const kept = await getRepeat(sources.records, id)
  if (kept === undefined || !(await maySee(caller, kept.repeat, sources))) return refuse('action_unknown')
  call.trail.repeat = kept.repeat
  if (!hasRole(caller, ['operator']) && !kept.repeat.by.some(({ by }) => isSamePerson(by, caller.person))) {
    return refuse('approver_not_allowed', {
      detail: 'this was granted by somebody else: an operator can end it',
      reasons: ['not_granted'],
    })
  }
  const reason = readReason(call.json)
  if (isRefusal(reason)) return reason
  if (observer.fault() !== undefined) return refuse('audit_unavailable')
  const { now } = call
  const ended = await revokeRepeat(sources.records, id, { by: caller.person.user, at: now, reason })
  if (ended === undefined) return refuse('action_unknown')
  call.trail.repeat = ended.repeat
  call.trail.changed = ended.changed
  return { status: 200, body: repeatView(ended.repeat, now) }
}

/** As with actions: an approver sees those that were granted under a name of theirs. */
async function maySee(
  caller: Caller,
  { lease, issuer, by }: Repeat,
  { leases }: ActionParts['sources'],
): Promise<boolean> {
  const { person } = caller
  const names = by.map(({ as }) => as)
  const isTheirs = by.some((each) => isSamePerson(each.by, person)) || namedAs(person, names) !== undefined
  if (!isTheirs && !hasRole(caller, readers)) return false
  if (caller.tenant === undefined) return true
  const record = await leases.get(lease)
  return record !== undefined && record.issuer === issuer && isWithinTenant(caller, record.tenant)
}

function readReason(body: unknown): string | Refusal {
  const { reason } = isObject(body) && Object.keys(body).length === 1 ? body : {}
  if (typeof reason !== 'string') {
    const detail = `send a JSON object with a reason of ${maxReason} characters at most and nothing else`
    return refuse('malformed_request', { detail })
  }
  return refuseReason(reason, true) ?? reason
}

/** People who are looked at: more have not decided anything in months. */
const maxPeople = 1_000

async function approvers({ caller }: ControlCall, { sources }: RepeatParts) {
  if (caller === undefined) return refuse('operator_required')
  // People decide for every tenant.
  if (caller.tenant !== undefined) return refuse('operator_not_allowed')
  const all = await listHabits(sources.records, maxPeople)
  const rows = all.map(({ user, yes, no, fastYes }) => ({
    ...{ user, yes, no, fast_yes: fastYes },
    share_fast: yes === 0 ? 0 : fastYes / yes,
  }))
  return { status: 200, body: { approvers: rows } }
}
