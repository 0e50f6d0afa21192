// The part of compose.ts that makes what people decide with: parts in, the parts of its endpoints out. Decides nothing.
import type { Action } from './approval/action.ts'
import type { LeaseRequest } from './approval/requests.ts'
import type { ComposedConsole } from './compose_console.ts'
import { tellOfRequest } from './compose_notify.ts'
import type { Closers, Parts } from './compose_parts.ts'
import { actionOrderEndpoints } from './http/action_orders.ts'
import type { ActionParts } from './http/action_parts.ts'
import { actionEndpoints } from './http/actions.ts'
import type { Endpoint } from './http/control.ts'
import { startExpirer } from './http/expirer.ts'
import { repeatEndpoints } from './http/repeats.ts'
import { createDecisionObserver } from './telemetry/approval.ts'
import { watchPending } from './telemetry/pending.ts'

/** `/actions`, `/repeats` and `/approvers`. */
export function composeDecisions(
  { config, store, actions, notices, released, audit, metrics, identity, log }: Parts,
  { confirmation }: ComposedConsole,
  closers: Closers,
): Endpoint[] {
  const pending = watchPending({ actions, deferrals: store.deferrals, log })
  closers.push(() => pending.close())
  metrics.approvalsPending(pending.count)
  const { records, leases, revocations, deferrals } = store
  const { maxStalenessMs } = config.state
  const observer = createDecisionObserver({ audit, metrics })
  const noticesOf = (action: Action) => notices.writes('approval.decided', action)
  const tellOf = (request: LeaseRequest) =>
    tellOfRequest('approval.decided', request, { store, notices, log })
  const expirer = startExpirer({
    ...{ actions, deferrals, noticesOf },
    onExpired: async (expired) => {
      observer.expired(expired)
      if (expired.about.kind === 'lease') await tellOf(expired.about)
    },
    fault: observer.fault,
    clock: Date.now,
    onFault: (error) => log.warn({ err: error }, 'what nobody has decided in time is ended later'),
  })
  closers.push(() => expirer.close())
  const parts: ActionParts = {
    sources: {
      actions,
      records,
      leases,
      revocations,
      maxStalenessMs,
      noticesOf,
    },
    store,
    clock: Date.now,
    observer,
    tenantOf: (clientId) => identity?.agents.byClientId(clientId)?.tenant,
    confirmation,
    onSettled: tellOf,
    nudge: () => {
      for (const look of released) look()
    },
  }
  return [...actionEndpoints(parts), ...actionOrderEndpoints(parts), ...repeatEndpoints(parts)]
}
