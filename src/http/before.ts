// `GET /actions/{id}/before`: what stands there now, read through the gate in the name of whoever looks. In: an action
// that the caller may see. Out: the backend's answer, or why there is none to show. Changes nothing.

import type { Actions } from '../approval/actions.ts'
import { beforeRead, consoleLease } from '../approval/before.ts'
import { recordOf } from '../approval/standing.ts'
import { newId } from '../lease/ids.ts'
import type { Leases } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { mayKnow } from './action_parts.ts'
import type { ControlAnswer, ControlCall, Endpoint } from './control.ts'
import { fieldOf, type PerformParts, perform } from './perform.ts'
import { orUnavailable } from './store_answer.ts'

export interface BeforeParts extends PerformParts {
  readonly actions: Pick<Actions, 'get' | 'call'>
  readonly leases: Pick<Leases, 'get'>
  readonly maxResponseBytes: number
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** The endpoint. */
export function beforeEndpoint(parts: BeforeParts): Endpoint {
  return {
    method: 'GET',
    path: '/actions/{id}/before',
    access: ['approver', 'auditor'],
    takes: 'nothing',
    errors: 'problem',
    serve: (call) => orUnavailable(before(call, parts)),
  }
}

async function before({ params, caller }: ControlCall, parts: BeforeParts): Promise<ControlAnswer | Refusal> {
  const { actions, gate, clock, maxResponseBytes } = parts
  const known = await actions.get(params.id ?? '')
  if (known === undefined || caller === undefined) return refuse('action_unknown')
  const { action } = known
  if (!mayKnow(caller, action, await recordOf(action, parts.leases))) return refuse('action_unknown')
  const call = await actions.call(action)
  if (call === undefined) return unavailable('evidence_unavailable')
  const read = beforeRead(call, gate)
  if (isRefusal(read)) return unavailable(read.code)
  const nowMs = clock()
  const lease = consoleLease(
    {
      user: caller.person.user,
      session: caller.session?.id ?? '',
      action: action.id,
      audience: gate.publicOrigin,
    },
    read,
    { id: newId('lse_', nowMs), tokenId: newId('ltk_', nowMs), now: Math.floor(nowMs / 1000) },
  )
  const { status, headers, body, code } = await perform(read.call, { lease }, maxResponseBytes, parts)
  if (code !== undefined) return unavailable(code)
  if (body === undefined) return unavailable('body_too_large')
  return {
    status: 200,
    body: {
      operation: read.operation.match,
      target: read.call.target,
      status,
      content_type: fieldOf(headers, 'content-type') ?? null,
      body_base64: Buffer.from(body).toString('base64'),
    },
  }
}

/** Not a refusal of the call: the action can be decided on without it. */
function unavailable(code: string): ControlAnswer {
  return { status: 200, body: { unavailable: code } }
}
