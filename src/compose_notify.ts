// The part of compose.ts that tells people: configuration in; what makes notices, and what sends them, out. Decides
// nothing.
import { stateOf } from './approval/action.ts'
import type { NoticeEvent, Notices } from './approval/notices.ts'
import { type LeaseRequest, noticeSubject, readRequest, requestState } from './approval/requests.ts'
import type { Closers, Parts } from './compose_parts.ts'
import type { Config } from './config.ts'
import { createNotices } from './notify/notices.ts'
import { startSender } from './notify/sender.ts'

/** Where actions say what is to be told. */
export function composeNotices({ notify }: Config): Notices {
  return createNotices({ destinations: notify, clock: Date.now })
}

/** Tells of a token request, which is in the inbox whether anybody is told or not. */
export async function tellOfRequest(
  event: NoticeEvent,
  request: LeaseRequest,
  { store, notices, log }: Pick<Parts, 'store' | 'notices' | 'log'>,
): Promise<void> {
  const writes = notices.writes(event, noticeSubject(request))
  if (writes.length === 0) return
  await store.records.write(writes).catch((error) => {
    log.warn({ err: error }, 'nobody is told of a token request')
  })
}

/** Sends what waits; for the processes with a control listener, so once per gate and not once per worker. */
export function sendNotices({ config, store, actions, metrics, log }: Parts, closers: Closers): void {
  const clock = Date.now
  const sender = startSender({
    records: store.records,
    destinations: config.notify,
    consoleUrl: config.console.url,
    isPending: async (id) => {
      const now = clock() / 1000
      const kept = await actions.get(id)
      if (kept !== undefined) return stateOf(kept.action, now) === 'pending'
      const deferral = await store.deferrals.get(id)
      return deferral !== undefined && requestState(readRequest(deferral), now) === 'pending'
    },
    clock,
    metrics,
    log,
  })
  closers.push(() => sender.close())
}
