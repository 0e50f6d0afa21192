// START HERE: a notice is a record of its own for each place that is to be told. In: an event about an action. Out:
// the record. Whoever changes it first sends it (sender.ts). Never in it: a URL, a secret, what a call is about.
import { createHash } from 'node:crypto'
import type { NoticeEvent, NoticeSubject } from '../approval/notices.ts'
import type { Config } from '../config.ts'
import { isObject } from '../lease/text.ts'
import type { RecordWrite, StoredRecord } from '../ports.ts'

/** A place that is told, as the configuration names it. */
export type Destination = Config['notify'][number]

/** What goes out, in every format. A member that the action has no word for is null. */
export interface NoticeData {
  readonly action: string
  readonly kind: NoticeSubject['kind']
  readonly state: NoticeSubject['state']
  readonly verb: string | null
  readonly backend: string | null
  /** As mapped, e.g. `DELETE /customers/{id}`. */
  readonly operation: string | null
  readonly risk: string | null
  readonly sensitivity: string | null
  readonly agent: string
  readonly user: string
  /** RFC 3339. */
  readonly expires_at: string
}

/** A notice that waits. Times are seconds since 1970. */
export interface Notice {
  readonly event: NoticeEvent
  /** When it happened. */
  readonly at: number
  /** From then on it is of no use to anybody. */
  readonly until: number
  /** `placeOf` the destination. */
  readonly to: string
  /** How often sending it was begun. */
  readonly attempts: number
  readonly data: NoticeData
}

/** What a destination is called in the store: its URL is a secret in itself (Slack's). */
export function placeOf({ url, format }: Pick<Destination, 'url' | 'format'>): string {
  return createHash('sha256').update(`${format}\n${url}`).digest('base64url').slice(0, 22)
}

/** The list of what waits for a destination; its places are the times at which each is due. */
export function waitingList(place: string): string {
  return `to:${place}`
}

/** The write that has `notice` wait until `dueAt`. */
export function noticeWrite(
  { id, expect, dueAt }: { readonly id: string; readonly expect: number; readonly dueAt: number },
  notice: Notice,
): RecordWrite {
  return {
    kind: 'notice',
    id,
    expect,
    text: JSON.stringify(notice),
    expiresAt: notice.until,
    lists: [waitingList(notice.to)],
    at: dueAt,
  }
}

/** The write after which nobody is told. */
export function withoutNotice({ id, version }: Pick<StoredRecord, 'id' | 'version'>): RecordWrite {
  return { kind: 'notice', id, expect: version, text: undefined, expiresAt: 0, at: 0 }
}

/** Undefined: nothing that this release has written. */
export function readNotice({ text }: StoredRecord): Notice | undefined {
  const notice = parsed(text)
  if (!isObject(notice) || !isObject(notice.data)) return undefined
  const { event, to, at, until, attempts, data } = notice
  const isRead = typeof event === 'string' && typeof to === 'string' && Number.isSafeInteger(attempts)
  if (!isRead || !Number.isFinite(at) || !Number.isFinite(until)) return undefined
  const { action, agent, user, expires_at } = data
  if (![action, agent, user, expires_at].every((each) => typeof each === 'string')) return undefined
  if (!Object.values(data).every((each) => each === null || typeof each === 'string')) return undefined
  return notice as Record<string, unknown> & Notice
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A page of the console. Opening it decides nothing. Of our own configuration, whatever the store holds. */
export function pageOf({ data }: Notice, consoleUrl: string): string {
  return `${consoleUrl}/console#/inbox/${encodeURIComponent(data.action)}`
}
