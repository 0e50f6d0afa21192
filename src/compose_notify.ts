// The part of compose.ts that tells people: configuration in; what makes notices, and what sends them, out. Decides
// nothing.
import type { Notices } from './approval/notices.ts'
import type { Closers, Parts } from './compose_parts.ts'
import type { Config } from './config.ts'
import { createNotices } from './notify/notices.ts'
import { startSender } from './notify/sender.ts'

/** Where actions say what is to be told. */
export function composeNotices({ notify, console }: Config): Notices {
  return createNotices({ destinations: notify, consoleUrl: console.url, clock: Date.now })
}

/** Sends what waits; for the processes with a control listener, so once per gate and not once per worker. */
export function sendNotices({ config: { notify }, store, metrics, log }: Parts, closers: Closers): void {
  const sender = startSender({
    records: store.records,
    destinations: notify,
    clock: Date.now,
    metrics,
    log,
  })
  closers.push(() => sender.close())
}
