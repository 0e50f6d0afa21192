// The part of compose.ts that tells people: configuration in; what makes notices, and what sends them, out. Decides
// nothing.
import { stateOf } from './approval/action.ts'
import type { Notices } from './approval/notices.ts'
import type { Closers, Parts } from './compose_parts.ts'
import type { Config } from './config.ts'
import { createNotices } from './notify/notices.ts'
import { startSender } from './notify/sender.ts'

/** Where actions say what is to be told. */
export function composeNotices({ notify }: Config): Notices {
  return createNotices({ destinations: notify, clock: Date.now })
}

/** Sends what waits; for the processes with a control listener, so once per gate and not once per worker. */
export function sendNotices({ config, store, actions, metrics, log }: Parts, closers: Closers): void {
  const clock = Date.now
  const sender = startSender({
    records: store.records,
    destinations: config.notify,
    consoleUrl: config.console.url,
    isPending: async (id) => {
      const kept = await actions.get(id)
      return kept !== undefined && stateOf(kept.action, clock() / 1000) === 'pending'
    },
    clock,
    metrics,
    log,
  })
  closers.push(() => sender.close())
}
