// `/access/v1/requests/{id}`: an agent looks after what waits on its behalf. In: a request with a lease, and the rest
// of the path. Out: the gate's own answer, or a refusal. An action of another lease is answered as one that nobody
// knows. ADD A METHOD HERE. Never forwards.
import { type Action, isOver, stateOf } from '../approval/action.ts'
import type { KeptAction } from '../approval/actions.ts'
import { pollSeconds, taskOf, taskPath } from '../approval/task.ts'
import type { Lease } from '../lease/lease.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { leaseChecks } from './checks.ts'
import { orUnavailable, within } from './deadline.ts'
import type { Exchange, Gate, Trail } from './gate.ts'
import { standingOf } from './gather.ts'
import { replace } from './replace.ts'
import type { LocalAnswer, OwnAnswer } from './reply.ts'
import type { CleanRequest, Routed } from './stages.ts'

/** Whether a request is for a task: on the gate's own origin, below the path that no backend may have. */
export function isForTask({ request, backend }: Pick<Routed, 'request' | 'backend'>): boolean {
  return backend === undefined && request.path.startsWith(taskPath)
}

interface Visit {
  readonly request: CleanRequest
  readonly lease: Lease
  readonly exchange: Exchange
  readonly gate: Gate
  readonly trail: Trail
  readonly kept: KeptAction
  readonly now: number
}

type Serve = (visit: Visit) => Promise<LocalAnswer | Refusal>

/** By method and what follows the id. */
const methods: Readonly<Record<string, Serve>> = {
  'GET ': look,
  'HEAD ': look,
  'POST cancel': cancel,
  'PUT ': put,
  'GET response': respond,
}

/** Answers for a task. Refuses a dead lease as any call, and `action_unknown`. */
export function serveTask(
  request: CleanRequest,
  lease: Lease,
  around: Pick<Visit, 'exchange' | 'gate' | 'trail'>,
): Promise<LocalAnswer | Refusal> {
  return orUnavailable(visit(request, lease, around))
}

async function visit(
  request: CleanRequest,
  lease: Lease,
  around: Pick<Visit, 'exchange' | 'gate' | 'trail'>,
): Promise<LocalAnswer | Refusal> {
  const { gate } = around
  const standing = await standingOf(lease, gate.evidence)
  for (const check of leaseChecks) {
    const refusal = check(standing)
    if (refusal !== undefined) return refusal
  }
  const [id = '', tail = '', ...more] = request.path.slice(taskPath.length).split('/')
  const served = Object.keys(methods).filter((each) => each.endsWith(` ${tail}`))
  if (served.length === 0 || more.length > 0) return refuse('operation_unmapped')
  const serve = methods[`${request.method} ${tail}`]
  if (serve === undefined)
    return refuse('method_not_allowed', { allow: served.map((each) => each.split(' ')[0]!) })
  const kept = await within(gate.evidence.deadlineMs, gate.humans.actions.get(id))
  if (kept === undefined || !isOf(kept.action, lease)) return refuse('action_unknown')
  return serve({ request, lease, ...around, kept, now: standing.now })
}

function isOf({ lease }: Action, { id, issuer }: Lease): boolean {
  return lease.id === id && lease.issuer === issuer
}

/** The task; with `Prefer: wait` once its state is another. */
async function look({ request, lease, exchange, gate, trail, kept, now }: Visit): Promise<OwnAnswer> {
  const { humans, evidence } = gate
  const seconds = Math.min(request.waitSeconds ?? 0, humans.maxWaitSeconds)
  const before = stateOf(kept.action, now)
  if (!(seconds > 0) || isOver(kept.action, now)) return document(kept.action, gate, now)
  const seat = { action: kept.action.id, lease: lease.id }
  const changed = await humans.waiting.wait(seat, seconds * 1000, async () => {
    if (exchange.left) return kept
    const again = await within(evidence.deadlineMs, humans.actions.get(kept.action.id))
    return again !== undefined && stateOf(again.action, clock(gate)) !== before ? again : undefined
  })
  trail.waited = changed !== undefined
  return document((changed ?? kept).action, gate, clock(gate))
}

/** The agent takes it back: until it is used or a gate has begun. Taken back twice is as once. */
async function cancel({ gate, kept, now }: Visit): Promise<OwnAnswer | Refusal> {
  const { actions, notices } = gate.humans
  const soon = <T>(asked: Promise<T>) => within(gate.evidence.deadlineMs, asked)
  for (let current: KeptAction | undefined = kept; current !== undefined; ) {
    const { action }: KeptAction = current
    if (action.state === 'withdrawn') return document(action, gate, now)
    if (isOver(action, now) || action.state === 'executing') {
      return refuse('action_state_conflict', { detail: `it is ${stateOf(action, now)}` })
    }
    const ended = { by: action.lease.agent.id, at: now, reason: 'taken back by the agent' }
    const next: Action = { ...action, state: 'withdrawn', ended }
    const bytesGone = await soon(actions.dropping(action))
    const told = notices.writes('approval.decided', next)
    const changed = await soon(actions.change(current, next, [...bytesGone, ...told]))
    if (changed !== undefined) return document(next, gate, now)
    current = await soon(actions.get(action.id))
  }
  return refuse('action_unknown')
}

/** A draft gets another body. */
async function put(visit: Visit): Promise<OwnAnswer | Refusal> {
  visit.trail.action = visit.kept.action.id
  const action = await replace(visit)
  return isRefusal(action) ? action : document(action, visit.gate, visit.now)
}

/** The backend's answer to a draft that was executed, as it came. */
async function respond({ gate, kept: { action } }: Visit): Promise<LocalAnswer | Refusal> {
  const kept = action.outcome?.kept === true
  const response = kept
    ? await within(gate.evidence.deadlineMs, gate.humans.actions.response(action))
    : undefined
  if (response === undefined) {
    const executed = action.state === 'executed'
    const detail = executed ? 'the answer of the backend was not kept' : 'the draft has not been executed'
    return refuse('action_unknown', { detail, reasons: [executed ? 'response_not_kept' : 'not_executed'] })
  }
  const { status, headers, body } = response
  const framed = headers.includes('content-length') || status === 204
  const length = framed ? [] : ['content-length', String(body.byteLength)]
  return { status, headers: [...headers, ...length], body }
}

function clock({ evidence }: Gate): number {
  return Math.floor(evidence.clock() / 1000)
}

/** The task as an answer. */
export function document(action: Action, { publicOrigin }: Gate, now: number, status = 200): OwnAnswer {
  const task = taskOf(action, publicOrigin, now)
  const body = JSON.stringify(task)
  const headers = ['content-type', 'application/json', 'content-length', String(Buffer.byteLength(body))]
  headers.push('cache-control', 'no-store')
  if (!isOver(action, now)) headers.push('retry-after', String(pollSeconds))
  if (status === 202) headers.push('location', task.status_endpoint)
  return { status, headers, body }
}
