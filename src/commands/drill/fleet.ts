// The processes behind the addresses of a deployment. In: addresses and a lease that may call the canary. Out: a
// connection to each worker that answers. Throws, with what to do about it, where one cannot be reached.
import { setTimeout as sleep } from 'node:timers/promises'
import type { CanaryAnswer } from '../../http/canary.ts'
import { type CanaryCall, type GateAddress, GateConnection } from './connection.ts'
import { explain } from './explain.ts'

/** Everything that is called in a drill. */
export interface Fleet {
  readonly connections: readonly GateConnection[]
  readonly gates: readonly GateAddress[]
  /** Processes that have answered. */
  readonly workers: number
  close(): void
}

const atOnce = 8
/** Of each process: whichever worker of a cluster took it, the others are not asked twice for nothing. */
const keptOfEach = 2
/** New connections without a new process, after which no more are expected. */
const quietConnections = 24
const maxConnections = 512

/** Finds every worker behind every address. */
export async function openFleet(gates: readonly GateAddress[], token: string): Promise<Fleet> {
  const found = await Promise.all(gates.map((gate) => findWorkers(gate, token)))
  const connections = found.flat()
  return {
    connections,
    gates,
    workers: new Set(connections.map((each) => each.process?.gate)).size,
    close: () => {
      for (const each of connections) each.close()
    },
  }
}

/** Calls on new connections until no other worker answers; all of a gate's have to. */
async function findWorkers(gate: GateAddress, token: string): Promise<GateConnection[]> {
  const kept = new Map<string, GateConnection[]>()
  const seen = new Map<string, CanaryAnswer>()
  let quiet = 0
  for (let opened = 0; opened < maxConnections; opened += atOnce) {
    const batch = Array.from({ length: atOnce }, () => new GateConnection(gate))
    const calls = await Promise.all(batch.map((each) => accepted(each, token)))
    quiet += atOnce
    for (const [at, { process }] of calls.entries()) {
      const connection = batch[at]!
      const known = kept.get(process.gate) ?? []
      if (!seen.has(process.gate)) quiet = 0
      seen.set(process.gate, process)
      if (known.length < keptOfEach) kept.set(process.gate, [...known, connection])
      else connection.close()
    }
    if (quiet >= quietConnections && missing([...seen.values()]) === undefined)
      return [...kept.values()].flat()
  }
  throw new Error(
    `${gate.url.origin}: ${missing([...seen.values()])} in ${maxConnections} connections: is it alive? see the gate's log`,
  )
}

/** Which worker has not answered; behind one address, each number stands once for each gate. */
function missing(answers: readonly CanaryAnswer[]): string | undefined {
  const workers = Math.max(...answers.map((each) => each.workers))
  const counts = Array.from(
    { length: workers },
    (_, at) => answers.filter((each) => each.worker === at + 1).length,
  )
  const at = counts.indexOf(Math.min(...counts))
  return counts[at]! < Math.max(...counts) ? `worker ${at + 1} of ${workers} has not answered` : undefined
}

/** Patience for what has just been issued, or has just started. */
const attempts = 20

/** Calls until the canary answers; each process has been told of nothing yet. Throws what `explain` says. */
export async function accepted(
  connection: GateConnection,
  token: string,
): Promise<CanaryCall & { readonly outcome: 'accepted' }> {
  let call = await connection.call(token)
  for (let attempt = 0; call.outcome !== 'accepted' && attempt < attempts && isPassing(call); attempt++) {
    await sleep(100)
    call = await connection.call(token)
  }
  if (call.outcome === 'accepted') return call
  throw new Error(explain(call, connection.gate))
}

/** A second ago it was too early for a lease, or a worker was being replaced. */
function isPassing(call: CanaryCall): boolean {
  if (call.outcome === 'failed') return call.cause === 'ECONNRESET'
  return (
    call.outcome === 'refused' && ['lease_invalid', 'evidence_unavailable', 'overloaded'].includes(call.code)
  )
}
