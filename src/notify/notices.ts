// In: events about actions. Out: the notices of them, for the places that asked for such events. Sends nothing.
import type { NoticeEvent, NoticeSubject, Notices } from '../approval/notices.ts'
import { newId } from '../lease/ids.ts'
import { type Destination, type NoticeData, noticeWrite, placeOf } from './notice.ts'

export interface NoticesParts {
  readonly destinations: readonly Destination[]
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** News of what has happened is of use for an hour; a request for approval for as long as somebody can decide. */
const newsSeconds = 3600

/** Notices for `destinations`. */
export function createNotices({ destinations, clock }: NoticesParts): Notices {
  const places = destinations.map((each) => ({ place: placeOf(each), events: each.events }))
  return {
    writes(event, subject) {
      const told = places.filter(({ events }) => events.includes(event))
      if (told.length === 0) return []
      const nowMs = clock()
      const at = nowMs / 1000
      const until = event === 'approval.requested' ? subject.expiresAt : at + newsSeconds
      const data = dataOf(event, subject)
      return told.map(({ place: to }) => {
        const fresh = { id: newId('msg_', nowMs), expect: 0, dueAt: at }
        return noticeWrite(fresh, { event, at, until, to, attempts: 0, data })
      })
    },
  }
}

/** Member by member: what an action gets to hold one day does not go out by itself. */
function dataOf(event: NoticeEvent, subject: NoticeSubject): NoticeData {
  const { id, kind, state, what, lease, expiresAt } = subject
  return {
    action: id,
    kind,
    state: event === 'approval.requested' ? 'pending' : state,
    verb: what?.verb ?? null,
    backend: what?.backend ?? null,
    operation: what?.operation ?? null,
    risk: what?.risk ?? null,
    sensitivity: what?.sensitivity ?? null,
    agent: lease.agent.id,
    user: lease.user,
    expires_at: new Date(expiresAt * 1000).toISOString(),
  }
}
