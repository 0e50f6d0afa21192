// What nobody decided in time is over, and so is a yes that nobody used: stored as `expired`, once over all processes.
// In: what waits, the time. Out: what this process has ended. The clock has said so before; released drafts are their
// gate's to end (release.ts).
import type { Deferrals, Place } from '../ports.ts'
import { isRefusal } from '../refusals.ts'
import { type Action, stateOf } from './action.ts'
import type { Actions, KeptAction } from './actions.ts'
import type { Expired } from './observer.ts'
import { type LeaseRequest, readRequest } from './requests.ts'
import { change, type StepSources } from './step.ts'

export interface ExpirySources extends StepSources {
  readonly deferrals: Pick<Deferrals, 'pending' | 'expire'>
  /** Told of each, by the process that has ended it. */
  readonly onExpired: (expired: Expired) => void | Promise<void>
}

/** Looked at together, and at most in one look: what is left over comes next time. */
const batch = 200
const depth = 10_000

/** Ends what is over at `now`, seconds since 1970. Throws `Unavailable`; then the rest is ended another time. */
export async function endExpired(sources: ExpirySources, now: number): Promise<void> {
  for (const { action } of await overdue(sources.actions, now)) await endAction(action, sources, now)
  for (const deferral of await sources.deferrals.pending(0, depth)) {
    if (now < deferral.expiresAt || !(await sources.deferrals.expire(deferral.id))) continue
    const about: LeaseRequest = readRequest({ ...deferral, state: 'expired' })
    await sources.onExpired({ about, was: 'pending', at: now })
  }
}

async function overdue(actions: Pick<Actions, 'list'>, now: number): Promise<KeptAction[]> {
  const found: KeptAction[] = []
  let before: Place | undefined
  for (let seen = 0; seen < depth; seen += batch) {
    const kept = await actions.list('ending', { limit: batch, ...(before && { before }) })
    found.push(...kept.filter(({ action }) => stateOf(action, now) === 'expired'))
    const last = kept.at(-1)?.action
    if (last === undefined || kept.length < batch) break
    before = { at: last.createdAt, id: last.id }
  }
  return found
}

/** Somebody may have been faster: only whoever writes it tells of it. */
async function endAction({ id }: Action, sources: ExpirySources, now: number): Promise<void> {
  let was: Expired['was'] = 'pending'
  const ended = await change(id, sources, async ({ action }) => {
    was = action.state === 'approved' ? 'approved' : 'pending'
    const isDue = stateOf(action, now) === 'expired' && action.state !== 'expired'
    return { next: isDue ? { ...action, state: 'expired' } : action }
  })
  if (!isRefusal(ended) && ended.changed) await sources.onExpired({ about: ended.action, was, at: now })
}
