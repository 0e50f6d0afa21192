// Using up what a human has said: once, over all processes, restarts and crashes. In: an approval as it was found.
// Out: whether it is ours. Whoever cannot be told stays without (fail closed).
import type { Approval, Approvals } from '../ports.ts'
import { stateOf } from './action.ts'
import type { Actions } from './actions.ts'

/** The approvals of actions; `useRepeat` uses one call of a repeat. */
export function approvalsOf(actions: Actions, useRepeat: Approvals['use']): Approvals {
  return {
    async use(approval, now) {
      return approval.kind === 'repeat' ? useRepeat(approval, now) : useExact(actions, approval, now)
    },
  }
}

async function useExact(actions: Actions, { id, version }: Approval, now: number): Promise<boolean> {
  const kept = await actions.get(id)
  // Whatever changed it since it was looked at may have been a withdrawal.
  if (kept === undefined || kept.version !== version) return false
  const { action } = kept
  const state = stateOf(action, now)
  // A draft was claimed before it is executed: by this process, which alone has this version.
  if (action.kind === 'draft') return state === 'executing'
  if (state !== 'approved') return false
  return (await actions.change(kept, { ...action, state: 'used' })) !== undefined
}
