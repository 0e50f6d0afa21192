// `POST /actions/{id}/approve`, `refuse`, `withdraw`: people say yes or no. In: calls. Out: the action as it is now, or
// the refusal; each attempt is told of once when it is over, whoever sent it. Who may is approval/rules.ts.
import { type Action, stateOf, type Yes } from '../approval/action.ts'
import { approve, refuseAction, type Said, withdraw } from '../approval/decide.ts'
import { countDecision } from '../approval/habits.ts'
import { behindRequest, type LeaseRequest, settleRequest } from '../approval/requests.ts'
import { knowPerson, peopleBehind } from '../approval/standing.ts'
import type { Decided } from '../approval/step.ts'
import { isObject } from '../lease/text.ts'
import { Unavailable } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { type ActionParts, confirmable, deciders, findKnown, shownRequest } from './action_parts.ts'
import { actionView, requestView } from './action_view.ts'
import type { Caller } from './caller.ts'
import type { ControlAnswer, Endpoint } from './control.ts'
import { type DecidingCall, deciding } from './deciding.ts'

const verbs = ['approve', 'refuse', 'withdraw'] as const
type Verb = (typeof verbs)[number]

/** The endpoints. */
export function actionOrderEndpoints(parts: ActionParts): Endpoint[] {
  return verbs.map((verb) => ({
    method: 'POST',
    path: `/actions/{id}/${verb}`,
    access: deciders,
    takes: 'json',
    errors: 'problem',
    ...deciding(verb, parts, (call) => decide(verb, call, parts)),
  }))
}

async function decide(verb: Verb, call: DecidingCall, parts: ActionParts): Promise<ControlAnswer | Refusal> {
  const { caller } = call
  if (caller === undefined) return refuse('operator_required')
  const found = await findKnown(call.params.id ?? '', caller, parts)
  if (found === undefined) return refuse('action_unknown')
  call.trail.about = found
  const order = readOrder(verb, call.json)
  if (isRefusal(order)) return order
  // What cannot be recorded is not done.
  if (parts.observer.fault() !== undefined) return refuse('audit_unavailable')
  return found.kind === 'lease'
    ? decideRequest(verb, found, order, { call, caller, parts })
    : decideAction(verb, found, order, { call, caller, parts })
}

interface Deciding {
  readonly call: DecidingCall
  readonly caller: Caller
  readonly parts: ActionParts
}

async function decideAction(
  verb: Verb,
  found: Action,
  { repeat, assertion, ...order }: Order,
  { call, caller, parts }: Deciding,
): Promise<ControlAnswer | Refusal> {
  const { sources } = parts
  const said: Said = { id: found.id, ...order, now: call.now }
  const { person } = caller
  const confirm = async (action: Action) =>
    noteHow(call, await parts.confirmation.confirm(caller, action, assertion))
  const decided = await {
    approve: () => approve(person, { ...said, repeat, confirm }, sources),
    refuse: () => refuseAction(person, said, sources),
    withdraw: () => withdraw(person, said, sources),
  }[verb]()
  if (isRefusal(decided)) return decided
  tell(found, decided, call, parts)
  const [known, behind] = await Promise.all([
    knowPerson(person, sources.leases),
    peopleBehind(decided.action, sources),
  ])
  const viewer = {
    ...known,
    caller,
    now: call.now,
    asked: parts.confirmation.needs(caller, decided.action.what.risk),
  }
  return { status: 200, body: actionView(decided.action, behind, viewer) }
}

/** What has been written is told of at once, whatever becomes of the answer. */
function tell(
  before: Action,
  { action, changed, repeat }: Decided,
  { trail, now }: DecidingCall,
  parts: ActionParts,
): void {
  trail.about = action
  trail.changed = changed
  trail.repeat = repeat
  const isReleased = action.kind === 'draft' && stateOf(action, now) === 'approved'
  if (changed && isReleased && stateOf(before, now) !== 'approved') parts.nudge()
}

function noteHow({ trail }: DecidingCall, how: Yes['shownBy'] | Refusal): Yes['shownBy'] | Refusal {
  if (!isRefusal(how)) trail.shownBy = how
  return how
}

async function decideRequest(
  verb: Verb,
  found: LeaseRequest,
  order: Order,
  { call, caller, parts }: Deciding,
): Promise<ControlAnswer | Refusal> {
  if (verb === 'withdraw') {
    const detail = 'the agent may have its lease by now: revoke that'
    return refuse('action_state_conflict', { detail, reasons: [found.deferral.state] })
  }
  if (order.repeat !== undefined) {
    const detail = 'a lease is granted once'
    return refuse('approver_not_allowed', { detail, reasons: ['repeat_not_allowed'] })
  }
  const { sources, store } = parts
  const { person } = caller
  const { now } = call
  const to = verb === 'approve' ? 'approved' : 'denied'
  const { fingerprint, reason, assertion } = order
  const confirm = async (request: LeaseRequest) =>
    noteHow(call, await parts.confirmation.confirm(caller, confirmable(request), assertion))
  const ports = { deferrals: store.deferrals, leases: sources.leases }
  const said = { id: found.id, to, fingerprint, reason, confirm, now } as const
  const settled = await settleRequest(person, said, ports)
  if (isRefusal(settled)) return settled
  call.trail.about = settled.request
  call.trail.changed = settled.changed
  if (settled.changed) {
    await countSettled(to, settled.request, { call, caller, parts })
    await parts.onSettled(settled.request)
  }
  const known = await knowPerson(person, sources.leases)
  const viewer = {
    ...known,
    caller,
    now,
    asked: parts.confirmation.needs(caller, confirmable(found).what.risk),
  }
  return { status: 200, body: requestView(settled.request, behindRequest(settled.request), viewer) }
}

/** The request is settled, whether this can be counted or not. */
async function countSettled(
  to: 'approved' | 'denied',
  request: LeaseRequest,
  { call, caller, parts }: Deciding,
): Promise<void> {
  const { records } = parts.sources
  const word = to === 'approved' ? 'yes' : 'no'
  try {
    await records.write([await countDecision(records, caller.person, word, shownRequest(request), call.now)])
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
  }
}

/** The body of an order that could be read. */
interface Order {
  readonly fingerprint: string
  readonly reason: string | undefined
  readonly repeat: Yes['repeat']
  /** Of a passkey; read by whoever confirms. */
  readonly assertion: unknown
}

const members: Readonly<Record<Verb, readonly string[]>> = {
  approve: ['fingerprint', 'reason', 'repeat', 'assertion'],
  refuse: ['fingerprint', 'reason'],
  withdraw: ['fingerprint'],
}

function readOrder(verb: Verb, body: unknown): Order | Refusal {
  const known = members[verb]
  const isRead = isObject(body) && Object.keys(body).every((name) => known.includes(name))
  const { fingerprint, reason, repeat, assertion } = isRead ? body : {}
  const wanted = `send a JSON object with a fingerprint, and of ${known.slice(1).join(', ')} what there is`
  if (typeof fingerprint !== 'string' || (reason !== undefined && typeof reason !== 'string')) {
    return refuse('malformed_request', {
      detail: known.length === 1 ? 'send a JSON object with a fingerprint and nothing else' : wanted,
    })
  }
  const bounds = repeat === undefined ? undefined : readRepeat(repeat)
  if (isRefusal(bounds)) return bounds
  return { fingerprint, reason, repeat: bounds, assertion }
}

function readRepeat(value: unknown): NonNullable<Yes['repeat']> | Refusal {
  const { calls, seconds } = isObject(value) && Object.keys(value).length === 2 ? value : {}
  return typeof calls === 'number' && typeof seconds === 'number'
    ? { calls, seconds }
    : refuse('malformed_request', { detail: 'write repeat as { calls, seconds }' })
}
