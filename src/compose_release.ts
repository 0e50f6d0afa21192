// The part of compose.ts for what a gate does without an agent's request: it executes released drafts, and shows
// approvers what stands there before. Decides nothing.
import type { GateSide } from './compose_gate.ts'
import type { Closers, Parts } from './compose_parts.ts'
import { beforeEndpoint } from './http/before.ts'
import type { Endpoint } from './http/control.ts'
import { Releaser } from './http/releaser.ts'
import { auditEvent } from './telemetry/audit.ts'

/** Starts it; drafts under way are waited for at the end, before their backends are let go. */
export function composeReleaser(parts: Parts, closers: Closers, side: GateSide): void {
  const { config, store, actions, notices, audit, log, released } = parts
  const releaser = new Releaser({
    ...side,
    actions,
    store,
    maxResponseBytes: config.approvals.maxResponseBytes,
    clock: Date.now,
    noticesOf: (action) => notices.writes('draft.executed', action),
    onEnded: ({ id, state, lease, decisionId, outcome }) => {
      const { status = null, code = null, bytes, kept } = outcome
      const facts = {
        action_id: id,
        lease_id: lease.id,
        held_as: decisionId,
        state,
        status,
        code,
        bytes,
        kept,
      }
      audit.append(auditEvent('draft', { decision_id: outcome.decisionId, ...facts }))
      log.info({ action: id, state, code }, 'a released draft is over')
    },
    onFault: (error) => log.warn({ err: error }, 'released drafts wait: the state store did not answer'),
  })
  released.push(() => releaser.look())
  closers.push(() => releaser.close(config.limits.drainMs))
}

/** What approvers are shown beside a write. */
export function composeBefore({ config, store, actions }: Parts, side: GateSide): Endpoint {
  const { maxResponseBytes } = config.approvals
  return beforeEndpoint({ ...side, actions, leases: store.leases, maxResponseBytes, clock: Date.now })
}
