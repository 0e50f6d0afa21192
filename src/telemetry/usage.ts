// In: the end of every request that came with a lease. Out: sums per lease, added to the state store about once
// a second. Bounded in memory; a store that cannot take them gets them later. It never holds up a request.
import type { Outcome, Trail } from '../enforce/gate.ts'
import type { Lease } from '../lease/lease.ts'
import type { Leases, LeaseUse } from '../ports.ts'
import { isRefusal } from '../refusals.ts'

/** Counts calls under leases. */
export interface UsageCounter {
  /** Once per request. Those without a verified lease are left out. */
  seen(trail: Trail, outcome: Outcome): void
  /** Hands over what is left; one attempt. */
  close(): Promise<void>
}

export interface UsageOptions {
  readonly leases: Pick<Leases, 'addUsage'>
  /** Milliseconds between two reports. */
  readonly flushMs?: number
  /** Leases whose sums are kept at once; calls under further ones are lost, and said to be. */
  readonly maxLeases?: number
  /** Told when the store begins to refuse, and when calls begin to be lost. */
  readonly onError: (error: Error) => void
}

/** Leases in one step of the store: few enough not to hold up requests (about a millisecond, embedded). */
const batch = 50

interface Sum {
  readonly lease: Pick<Lease, 'id' | 'issuer'>
  calls: number
  readonly verbs: Map<string, number>
  refusals: number
  bytesIn: number
  bytesOut: number
  lastUsedAt: number
}

/** Starts to count. */
export function createUsageCounter({
  leases,
  flushMs = 1000,
  maxLeases = 20_000,
  onError,
}: UsageOptions): UsageCounter {
  let sums = new Map<string, Sum>()
  let flushing: Promise<void> | undefined
  let trouble: string | undefined

  const report = (message: string) => {
    if (message !== trouble) onError(new Error(message))
    trouble = message
  }
  /** The sum to add to; undefined: there is no room for another. */
  const sumOf = ({ id, issuer }: Sum['lease']): Sum | undefined => {
    const key = `${issuer}\n${id}`
    const known = sums.get(key)
    if (known !== undefined) return known
    if (sums.size >= maxLeases) {
      report('calls are not counted: too many leases wait for the state store')
      return undefined
    }
    const counts = { calls: 0, refusals: 0, bytesIn: 0, bytesOut: 0, lastUsedAt: 0 }
    const sum = { lease: { id, issuer }, verbs: new Map(), ...counts }
    sums.set(key, sum)
    return sum
  }
  const hand = async () => {
    const taken = [...sums.values()]
    sums = new Map()
    for (let at = 0; at < taken.length; at += batch) {
      const part = taken.slice(at, at + batch)
      try {
        await leases.addUsage(part.map(useOf))
        trouble = undefined
      } catch (error) {
        // What was counted meanwhile comes first: a full map drops the older sums.
        for (const sum of taken.slice(at)) addTo(sumOf(sum.lease), sum)
        return report(`usage of leases waits: ${error instanceof Error ? error.message : 'unknown failure'}`)
      }
    }
  }
  const flush = () => {
    flushing ??= hand().finally(() => {
      flushing = undefined
    })
    return flushing
  }
  const timer = setInterval(() => void flush(), flushMs).unref()
  return {
    seen(trail, { bytesIn, bytesOut }) {
      const { lease, routed, refusal, forwardedAt, startedAt } = trail
      const sum = lease && sumOf(lease)
      if (sum === undefined) return
      sum.calls++
      // A backend that fails after the yes has refused nothing.
      if (refusal !== undefined && forwardedAt === undefined) sum.refusals++
      sum.bytesIn += bytesIn
      sum.bytesOut += bytesOut
      sum.lastUsedAt = Math.max(sum.lastUsedAt, startedAt / 1000)
      if (routed === undefined || isRefusal(routed.mapped)) return
      const { verb } = routed.mapped.operation
      sum.verbs.set(verb, (sum.verbs.get(verb) ?? 0) + 1)
    },
    async close() {
      clearInterval(timer)
      await flushing
      await flush()
    },
  }
}

function addTo(sum: Sum | undefined, older: Sum): void {
  if (sum === undefined) return
  sum.calls += older.calls
  sum.refusals += older.refusals
  sum.bytesIn += older.bytesIn
  sum.bytesOut += older.bytesOut
  sum.lastUsedAt = Math.max(sum.lastUsedAt, older.lastUsedAt)
  for (const [verb, calls] of older.verbs) sum.verbs.set(verb, (sum.verbs.get(verb) ?? 0) + calls)
}

function useOf({ lease, verbs, ...counts }: Sum): LeaseUse {
  return { ...lease, ...counts, verbs: Object.fromEntries(verbs) }
}
