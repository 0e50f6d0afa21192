// In: what was asked of the gates, what reached the backend, what was acknowledged as revoked, by one monotonic
// clock. Out: the figures of one fault, and whether any of them may not be. Pure.

/** One request, as the agent that sent it saw it. Times are milliseconds of `performance.now()`. */
export interface Ask {
  readonly number: number
  readonly gate: string
  readonly lease: string
  readonly sentMs: number
  readonly answeredMs: number
  /** Undefined: no answer. */
  readonly status: number | undefined
}

export interface Observed {
  readonly asks: readonly Ask[]
  /** Numbers of the requests that reached the backend. */
  readonly reached: ReadonlySet<number>
  /** When each lease was acknowledged as revoked. */
  readonly acknowledged: ReadonlyMap<string, number>
  /** Leases that nobody revokes: whether they are served tells whether the gates serve. */
  readonly control: ReadonlySet<string>
  /** Milliseconds after the acknowledgement from which nothing may reach the backend. */
  readonly boundMs: number
  readonly mendedMs: number
}

export interface Figures {
  readonly acknowledged: number
  /** Requests under a revoked lease that were sent after acknowledgement and bound. */
  readonly tested: number
  /** Of those, the ones that reached the backend; each as `gate lease +ms after the acknowledgement`. */
  readonly accepted: readonly string[]
  /** The longest that a revoked lease was still let through, milliseconds after the acknowledgement. */
  readonly latestMs: number
  /** The most that any one gate did not serve leases that are good, milliseconds. */
  readonly unavailableMs: number
  /** From the mending of the fault until every gate served again; 0 where none had stopped. */
  readonly healedMs: number
}

/** Judges one run. */
export function judge(observed: Observed): Figures {
  const { asks, acknowledged, control, mendedMs } = observed
  const gates = [...new Set(asks.map(({ gate }) => gate))]
  const outages = gates.map((gate) =>
    outagesOf(asks.filter((ask) => ask.gate === gate && control.has(ask.lease))),
  )
  return {
    acknowledged: acknowledged.size,
    ...acceptance(observed),
    unavailableMs: Math.max(0, ...outages.map((all) => all.reduce((sum, [from, to]) => sum + to - from, 0))),
    healedMs: Math.max(0, ...outages.flatMap((all) => all.map(([, to]) => to - mendedMs))),
  }
}

function acceptance({ asks, reached, acknowledged, boundMs }: Observed) {
  let tested = 0
  let latestMs = 0
  const accepted: string[] = []
  for (const { number, gate, lease, sentMs } of asks) {
    const at = acknowledged.get(lease)
    if (at === undefined || sentMs <= at) continue
    if (sentMs > at + boundMs) tested++
    if (!reached.has(number)) continue
    latestMs = Math.max(latestMs, sentMs - at)
    if (sentMs > at + boundMs) accepted.push(`${gate} ${lease} +${Math.round(sentMs - at)} ms`)
  }
  return { tested, accepted, latestMs }
}

/** Spans from the first request that was not served to the next one that was, or to the last one seen. */
function outagesOf(asks: readonly Ask[]): readonly [from: number, to: number][] {
  const spans: [from: number, to: number][] = []
  let out = false
  for (const { sentMs, answeredMs, status } of asks.toSorted((a, b) => a.sentMs - b.sentMs)) {
    if (status !== 200 && !out) spans.push([sentMs, sentMs])
    out = status !== 200
    const last = spans.at(-1)
    if (out && last !== undefined) last[1] = Math.max(last[1], answeredMs)
  }
  return spans
}
