// Who sees what of actions and decisions. In: a caller. Out: whether they see everything, or the actions that are
// theirs to see. An approver sees what policy names them for; whoever is limited to a tenant sees none of it, because
// neither an action nor an audit record says whose tenant it is of.

import type { Actions, KeptAction } from '../approval/actions.ts'
import { namedAs } from '../approval/people.ts'
import type { Deferral, Deferrals } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { type Caller, hasRole } from './caller.ts'

/** Refuses whoever is limited to a tenant. */
export function refuseTenant({ tenant }: Caller): Refusal | undefined {
  if (tenant === undefined) return undefined
  const detail = 'an operator of a tenant does not see this: nothing in it says which tenant it is of'
  return refuse('operator_not_allowed', { detail })
}

/** Everything that waits for a human. */
export interface Waiting {
  readonly actions: readonly KeptAction[]
  readonly deferrals: readonly Deferral[]
}

/** At most so many of each are looked at. */
const depth = 500

/** What waits at `now` (seconds since 1970), newest first. Throws `Unavailable`. */
export async function whatWaits(
  { actions, deferrals }: { actions: Pick<Actions, 'list'>; deferrals: Pick<Deferrals, 'pending'> },
  now: number,
): Promise<Waiting> {
  const [held, asked] = await Promise.all([
    actions.list('pending', { limit: depth }),
    deferrals.pending(now, depth),
  ])
  const waits = ({ action }: KeptAction) => action.state === 'pending' && now < action.expiresAt
  return { actions: held.filter(waits), deferrals: asked.toReversed() }
}

/** What of it a caller sees: each with its id and its version. */
export function seen(caller: Caller, { actions, deferrals }: Waiting): { id: string; version: number }[] {
  const all = hasRole(caller, ['auditor'])
  const isSeen = (approvers: readonly string[]) => all || namedAs(caller.person, approvers) !== undefined
  return [
    ...actions
      .filter(({ action }) => isSeen(action.terms.approvers))
      .map(({ action, version }) => ({ id: action.id, version })),
    ...deferrals.filter(({ approvers }) => isSeen(approvers)).map(({ id }) => ({ id, version: 1 })),
  ]
}

/** Ids of the actions that policy names a caller for, of the newest. */
export async function ownActions(
  { person }: Caller,
  actions: Pick<Actions, 'list'>,
): Promise<ReadonlySet<string>> {
  const all = await actions.list('all', { limit: depth })
  const own = all.filter(({ action }) => namedAs(person, action.terms.approvers) !== undefined)
  return new Set(own.map(({ action }) => action.id))
}
