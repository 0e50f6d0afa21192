// Using up what a human has said: once, over all processes, restarts and crashes. In: an approval as it was found.
// Out: whether it is ours. Whoever cannot be told stays without (fail closed).
import type { Approval, Approvals } from '../ports.ts'
import { stateOf } from './action.ts'
import type { Actions } from './actions.ts'

/** The approvals of actions; `useRepeat` uses one call of a repeat. */
export function approvalsOf(actions: Actions, useRepeat: Approvals['use']): Approvals {
  return {
    async use(approval, now, givenUp) {
      return approval.kind === 'repeat'
        ? useRepeat(approval, now, givenUp)
        : useExact(actions, approval, now, givenUp)
    },
  }
}

async function useExact(
  actions: Actions,
  { id, version, approvedBy }: Approval,
  now: number,
  givenUp: AbortSignal,
): Promise<boolean> {
  const kept = await actions.get(id)
  // The call that it was for has been refused meanwhile: the yes is good for the next one.
  if (kept === undefined || givenUp.aborted) return false
  const { action } = kept
  const state = stateOf(action, now)
  // A draft was claimed before it is executed: by this process, which alone has this version.
  if (action.kind === 'draft') return state === 'executing' && kept.version === version
  // Since it was looked at one more may have said yes, or one of them may have taken it back.
  const stands = approvedBy.every((user) => action.yes.some(({ by }) => by.user === user))
  if (state !== 'approved' || !stands) return false
  return (await actions.change(kept, { ...action, state: 'used' })) !== undefined
}
