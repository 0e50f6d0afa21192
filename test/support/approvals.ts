// What a human would have done at the console: a yes written into the store. For tests of what a gate makes of it.
import { readFileSync } from 'node:fs'
import type { Action, Yes } from '../../src/approval/action.ts'
import { Actions, type KeptAction } from '../../src/approval/actions.ts'
import { createSealer } from '../../src/approval/seal.ts'
import type { Config } from '../../src/config.ts'
import type { Store } from '../../src/ports.ts'

/** The actions of a gate, as another process sees them. */
export function actionsOf(store: Store, config: Pick<Config, 'approvals'>): Actions {
  return new Actions(store.records, createSealer(readFileSync(config.approvals.keyFile, 'utf8').trim()))
}

/** A yes of an owner of `crm`. */
export function yesOf(user = 'carol@example.com', as = 'group:crm-owners'): Yes {
  return {
    by: { user, issuer: 'https://login.example', subject: user },
    as,
    at: 1,
    reason: '',
    shownBy: 'session',
  }
}

/** Changes an action, whatever its rules say. */
export async function changeAction(
  actions: Actions,
  id: string,
  change: Partial<Action> | ((action: Action) => Partial<Action>),
): Promise<KeptAction> {
  const kept = await actions.get(id)
  if (kept === undefined) throw new Error(`${id} is not stored`)
  const more = typeof change === 'function' ? change(kept.action) : change
  const changed = await actions.change(kept, { ...kept.action, ...more })
  if (changed === undefined) throw new Error(`${id} was changed meanwhile`)
  return changed
}

/** Says yes to it. */
export function approveAction(
  actions: Actions,
  id: string,
  yes: readonly Yes[] = [yesOf()],
): Promise<KeptAction> {
  return changeAction(actions, id, { state: 'approved', yes })
}
