// Every exchange under way, so that what kills its lease ends it: a stream, a download, an upload or a WebSocket
// outlives neither its lease nor the evidence that the lease is alive (test/http/in_flight.test.ts). It tells
// each exchange to end and why; it never writes to one.
import { refuseOffClock } from '../enforce/clock.ts'
import type { MidwayEnd } from '../enforce/gate.ts'
import { refuseRevoked, refuseSuspended } from '../enforce/revoked.ts'
import type { Lease } from '../lease/lease.ts'
import { revocationKey } from '../lease/lease.ts'
import { isSuspension, type RevocationEntry, type Revocations } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { Settled } from './settled.ts'

/** Something that can be ended from outside. */
export interface Endable {
  /** Ends it at once; `refusal` is what its caller is told, where there is room for words. */
  end(ended: MidwayEnd, refusal: Refusal): void
}

/** One exchange under way: what `add` gives and `delete` takes. */
export interface Open {
  readonly exchange: Endable
  readonly lease: Lease
  /** The sweep it came after. */
  readonly since: number
  /** Where it stands among the young; -1: not there. Written by InFlight alone. */
  place: number
}

/** What tells whether leases are alive. */
export interface LifeSources {
  readonly revocations: Revocations
  readonly maxStalenessMs: number
  /** Milliseconds since 1970. */
  readonly clock: () => number
  /** As in `Store`. */
  readonly clockOffset: () => number
}

/** Exchanges that are ended in one go; the event loop gets its turn before the next ones. */
const slice = 1_000

/**
 * Leases with their open exchanges. The young ones are in an array, because the tables that a Map discards as
 * entries come and go keep finished exchanges alive until the next full collection: 20 µs of CPU per request
 * (measured, Node 24). Those that outlive a sweep are found by key: one revocation does not look at them all.
 */
export class InFlight {
  readonly #young: Open[] = []
  readonly #settled = new Settled()
  readonly #revocations: Revocations
  readonly #sources: LifeSources
  readonly #unwatch: () => void
  readonly #timer: NodeJS.Timeout
  #sweeps = 0
  #changes = 0

  /**
   * Expiry, the age of the view and the clock are looked at four times per `maxStalenessMs`, and every second at
   * least.
   */
  constructor(sources: LifeSources) {
    const { revocations, maxStalenessMs } = sources
    this.#sources = sources
    this.#revocations = revocations
    this.#unwatch = revocations.watch((entry) => this.#changed(entry))
    this.#timer = setInterval(() => this.#sweep(), Math.min(maxStalenessMs / 4, 1_000))
    this.#timer.unref()
  }

  get size(): number {
    return this.#young.length + this.#settled.size
  }

  /** Entries that have changed the view so far. */
  get changes(): number {
    return this.#changes
  }

  /**
   * Why an exchange under `lease` must not begin: an entry that came in after the view was last looked at for
   * it. `changes` is the count of before that look; while it stands, there is nothing to look for.
   */
  refusalSince(changes: number, lease: Lease): Refusal | undefined {
    if (changes === this.#changes) return undefined
    const revocation = this.#revocations.find(lease.revocationKeys, lease.issuedAt - lease.clockTolerance)
    if (revocation !== undefined) return refuseRevoked(revocation)
    const suspension = this.#revocations.suspension(lease)
    return suspension === undefined ? undefined : refuseSuspended(suspension)
  }

  add(exchange: Endable, lease: Lease): Open {
    const open = { exchange, lease, since: this.#sweeps, place: this.#young.length }
    this.#young.push(open)
    return open
  }

  delete(open: Open): void {
    const { place } = open
    if (place < 0) {
      this.#settled.delete(open)
      return
    }
    open.place = -1
    const last = this.#young.pop()
    if (last === undefined || last === open) return
    this.#young[place] = last
    last.place = place
  }

  close(): void {
    clearInterval(this.#timer)
    this.#unwatch()
  }

  #changed(entry: RevocationEntry): void {
    this.#changes++
    const suspension = isSuspension(entry)
    if (suspension && !entry.suspended) return
    const key = suspension
      ? revocationKey('lease', entry.lease)
      : revocationKey(entry.scope, entry.value, entry.issuer)
    // Negated like the look-up in the view: an `issuedAt` that is not a number is no way out.
    const hit = ({ lease }: Open) => suspension || !(entry.cutoff < lease.issuedAt - lease.clockTolerance)
    const doomed = this.#young.filter((open) => open.lease.revocationKeys.includes(key) && hit(open))
    for (const open of this.#settled.under(key)) if (hit(open)) doomed.push(open)
    if (doomed.length > 0) {
      end(doomed, 'revoked_midway', suspension ? refuseSuspended(entry) : refuseRevoked(entry))
    }
  }

  /** Why nobody can tell now whether a lease is alive; undefined: it can be told. */
  #unknown(nowMs: number): Refusal | undefined {
    const { maxStalenessMs, clockOffset } = this.#sources
    const ageMs = this.#revocations.ageMs(nowMs)
    // Written so that a NaN age ends them too.
    return ageMs <= maxStalenessMs ? refuseOffClock(clockOffset()) : stale(ageMs, maxStalenessMs)
  }

  #sweep(): void {
    const nowMs = this.#sources.clock()
    const unknown = this.#unknown(nowMs)
    if (unknown !== undefined) {
      end([...this.#young, ...this.#settled], 'stale_midway', unknown)
      return
    }
    const now = nowMs / 1000
    const expired = ({ lease }: Open) => now >= lease.expiresAt + lease.clockTolerance
    const doomed = this.#young.filter(expired)
    for (const open of this.#settled) if (expired(open)) doomed.push(open)
    end(doomed, 'expired_midway', tokenEnded)
    for (const open of this.#young.filter(({ since }) => since < this.#sweeps)) {
      this.delete(open)
      this.#settled.add(open)
    }
    this.#sweeps++
  }
}

/** Ends all of `doomed`, a slice at a time: a hundred thousand at once would hold up everybody else. */
function end(doomed: readonly Open[], ended: MidwayEnd, refusal: Refusal): void {
  for (const { exchange } of doomed.slice(0, slice)) exchange.end(ended, refusal)
  if (doomed.length > slice) setImmediate(() => end(doomed.slice(slice), ended, refusal))
}

const tokenEnded = refuse('lease_expired', {
  detail: 'the lease token ended while the exchange was under way',
})

function stale(ageMs: number, boundMs: number): Refusal {
  return refuse('evidence_unavailable', {
    detail: 'the view of revocations is too old to go on',
    cause: `revocation view is ${Math.round(ageMs)} ms old, bound ${boundMs} ms`,
  })
}
