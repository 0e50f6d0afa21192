// One revocation of a drill: callers and streams on every worker, the order, and what they saw from its
// acknowledgement to some time after the bound. In: a fleet, a lease, an order. Out: what was measured.
import { setTimeout as sleep } from 'node:timers/promises'
import type { CanaryLease } from './canary_lease.ts'
import { type CanaryStream, openStream } from './connection.ts'
import { accepted, type Fleet } from './fleet.ts'
import { Probe } from './probe.ts'

/** What one order did. Milliseconds. */
export interface RoundResult {
  /** From sending the order to its acknowledgement; undefined: it was not acknowledged. */
  readonly acknowledgedMs: number | undefined
  /** From the acknowledgement, one for each connection; undefined: not within the bound. */
  readonly tookMs: readonly (number | undefined)[]
  /** The same for streams. */
  readonly cutMs: readonly (number | undefined)[]
  /** What the streams were told. */
  readonly cutReasons: readonly string[]
  /** Calls that were sent after acknowledgement and bound, and accepted. */
  readonly acceptedLate: number
  readonly problems: readonly string[]
}

/** A round whose order has been acknowledged and taken hold, or has had its time. */
export interface Round {
  /** Resolves once the bound is over. Never rejects. */
  readonly over: Promise<RoundResult>
}

/** Callers go on for so long after the bound. */
const marginMs = 250
const everyMs = 5

/** Revokes with `order` under load. Throws what keeps the canary from being called before it. */
export async function beginRound(
  fleet: Fleet,
  lease: CanaryLease,
  boundMs: number,
  order: () => Promise<void>,
): Promise<Round> {
  await Promise.all(fleet.connections.map((each) => accepted(each, lease.token)))
  const streams = await openStreams(fleet, lease)
  const probes = fleet.connections.map((each) => new Probe(each, lease.token))
  const running = Promise.all(probes.map((probe) => probe.run()))
  // So that each has a call under way when the order goes out.
  await sleep(50)
  const orderedAt = performance.now()
  const problem = await order().then(
    () => undefined,
    (error: Error) => `the order was not acknowledged: ${error.message}`,
  )
  const acknowledgedAt = performance.now()
  const boundAt = acknowledgedAt + boundMs
  while (problem === undefined && performance.now() < boundAt && !probes.every((each) => each.isSettled)) {
    await sleep(everyMs)
  }
  const watch = async (): Promise<RoundResult> => {
    if (problem === undefined) await sleep(Math.max(0, boundAt + marginMs - performance.now()))
    for (const probe of probes) probe.stop()
    await running
    const cuts = await Promise.all(streams.map((each) => endOf(each)))
    const since = (at: number | undefined) =>
      at === undefined || at > boundAt ? undefined : Math.max(0, at - acknowledgedAt)
    return {
      acknowledgedMs: problem === undefined ? acknowledgedAt - orderedAt : undefined,
      tookMs: probes.map(({ refusedAt }) => since(refusedAt)),
      cutMs: cuts.map((cut) => since(cut?.endedAt)),
      cutReasons: [...new Set(cuts.flatMap((cut) => (cut === undefined ? [] : [cut.reason])))],
      acceptedLate: probes.reduce((sum, probe) => sum + probe.acceptedAfter(boundAt), 0),
      problems:
        problem === undefined ? [...problemsOf(probes, boundAt), ...early(cuts, orderedAt)] : [problem],
    }
  }
  return { over: watch() }
}

/** As many as there are connections; all or none. */
async function openStreams({ connections }: Fleet, { token }: CanaryLease): Promise<CanaryStream[]> {
  const opened = await Promise.allSettled(connections.map(({ gate }) => openStream(gate, token)))
  const streams = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const failed = opened.find((each) => each.status === 'rejected')
  if (failed === undefined) return streams
  for (const each of streams) each.close()
  throw failed.reason
}

/** How a stream ended, if it has. */
async function endOf(stream: CanaryStream) {
  const ended = await Promise.race([stream.over, sleep(0)])
  stream.close()
  return ended
}

/** Streams that were over before anything was ordered show nothing. */
function early(cuts: readonly Awaited<ReturnType<typeof endOf>>[], orderedAt: number): string[] {
  const before = cuts.flatMap((cut) => (cut !== undefined && cut.endedAt < orderedAt ? [cut.reason] : []))
  return [...new Set(before)].map((reason) => `a stream was over before the order: ${reason}`)
}

function problemsOf(probes: readonly Probe[], boundAt: number): string[] {
  const late = probes.filter((each) => each.refusedAt === undefined || each.refusedAt > boundAt)
  return [...new Set(late.map((probe) => describe(probe)))]
}

function describe({ connection: { gate, process }, otherwise }: Probe): string {
  const worker = process === undefined ? '' : ` worker ${process.worker} (${process.gate})`
  const instead = otherwise.length === 0 ? '' : `; it answered ${otherwise.join(', ')}`
  return `${gate.url.origin}${worker} did not refuse as revoked within the bound${instead}`
}

/** Lifts a suspension with `order`, and measures until the lease is accepted again on every worker. */
export async function resumeRound(
  { connections }: Fleet,
  lease: CanaryLease,
  boundMs: number,
  order: () => Promise<void>,
): Promise<RoundResult> {
  const orderedAt = performance.now()
  const nothing = { cutMs: [], cutReasons: [], acceptedLate: 0 }
  try {
    await order()
  } catch (error) {
    const problems = [`the order was not acknowledged: ${(error as Error).message}`]
    return { ...nothing, acknowledgedMs: undefined, tookMs: [], problems }
  }
  const acknowledgedAt = performance.now()
  const tookMs = await Promise.all(
    connections.map(async (connection) => {
      while (performance.now() < acknowledgedAt + boundMs) {
        const call = await connection.call(lease.token)
        if (call.outcome === 'accepted') return call.answeredAt - acknowledgedAt
        await sleep(1)
      }
      return undefined
    }),
  )
  const silent = tookMs.flatMap((took, at) => (took === undefined ? [connections[at]!.gate.url.origin] : []))
  const problems = [...new Set(silent)].map((origin) => `${origin} still refuses the resumed lease`)
  return { ...nothing, acknowledgedMs: acknowledgedAt - orderedAt, tookMs, problems }
}
