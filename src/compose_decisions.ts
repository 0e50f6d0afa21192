// The part of compose.ts that makes what people decide with: parts in, the parts of its endpoints out. Decides nothing.
import type { ComposedConsole } from './compose_console.ts'
import type { Closers, Parts } from './compose_parts.ts'
import { actionOrderEndpoints } from './http/action_orders.ts'
import type { ActionParts } from './http/action_parts.ts'
import { actionEndpoints } from './http/actions.ts'
import type { Endpoint } from './http/control.ts'
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
  const { records, leases, revocations } = store
  const { maxStalenessMs } = config.state
  const parts: ActionParts = {
    sources: {
      actions,
      records,
      leases,
      revocations,
      maxStalenessMs,
      noticesOf: (action) => notices.writes('approval.decided', action),
    },
    store,
    clock: Date.now,
    observer: createDecisionObserver({ audit, metrics }),
    tenantOf: (clientId) => identity?.agents.byClientId(clientId)?.tenant,
    confirmation,
    nudge: () => {
      for (const look of released) look()
    },
  }
  return [...actionEndpoints(parts), ...actionOrderEndpoints(parts), ...repeatEndpoints(parts)]
}
