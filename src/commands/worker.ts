// What one of several workers runs: node:cluster starts this file (workers/pool.ts). In: what its supervisor tells
// it. Out: the agents' listener, and how it is. It ends when it is told to, when its supervisor is gone, and when it
// cannot do as the other workers do.
import cluster from 'node:cluster'
import { type RunningWorker, startWorker } from '../compose.ts'
import { unpackConfig } from '../config/transfer.ts'
import { createLogger } from '../telemetry/log.ts'
import { workerNumber } from '../worker_number.ts'
import type { FromWorker, ToWorker } from '../workers/messages.ts'
import { shareOf } from '../workers/share.ts'

const supervisor = cluster.worker
if (supervisor === undefined) throw new Error('a worker is started by `leasegate serve`')

const shareCallsMs = 250
/** Exits all the same if it has not ended by then, after `limits.drain`. */
const closingMs = 5_000

let running: Promise<RunningWorker> | undefined
let ready: RunningWorker | undefined
let drainMs = 0
let ending: Promise<void> | undefined

// A terminal and a service manager send these to all processes; the supervisor sees to the workers.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

process.on('message', (message: ToWorker) => {
  obey(message).catch(fail)
})

supervisor.once('disconnect', () => {
  // Without it node:cluster ends the process here and now.
  supervisor.exitedAfterDisconnect = true
  void end(0)
})

async function obey(message: ToWorker): Promise<void> {
  switch (message.type) {
    case 'start':
      running = start(message)
      ready = await running
      say({ type: 'listening', ...ready.proxy })
      return
    case 'ask':
      return answer(message.number)
    case 'policy':
      return (await running)?.accept(message.policy)
    case 'calls':
      return (await running)?.recent.absorb(message.calls)
    case 'reload':
      return (await running)?.reload()
    case 'close':
      return end(0)
  }
}

async function start({ config: packed, policy, calls }: Extract<ToWorker, { type: 'start' }>) {
  const number = workerNumber()
  const config = shareOf(unpackConfig(packed), number)
  drainMs = config.limits.drainMs
  const log = createLogger({ level: config.log.level }).child({ worker: number })
  const started = await startWorker(config, log, policy)
  started.recent.absorb(calls)
  setInterval(() => {
    const counted = started.recent.take()
    if (counted.length > 0) say({ type: 'calls', calls: counted })
  }, shareCallsMs).unref()
  return started
}

async function answer(number: number): Promise<void> {
  const state = (await ready?.state()) ?? { digest: undefined, readiness: [], metrics: [] }
  say({ type: 'state', number, ...state })
}

function say(message: FromWorker): void {
  // A supervisor that is gone hears nothing, and `disconnect` says so.
  if (process.connected) process.send?.(message, undefined, undefined, () => {})
}

/** What keeps it from deciding as the others do, or a bug: the next one may do better. */
function fail(error: unknown): void {
  say({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
  void end(1)
}

function end(code: number): Promise<void> {
  ending ??= close().then(
    () => process.exit(code),
    () => process.exit(1),
  )
  return ending
}

async function close(): Promise<void> {
  setTimeout(() => process.exit(1), drainMs + closingMs).unref()
  const started = await running?.catch(() => undefined)
  await started?.close()
}
