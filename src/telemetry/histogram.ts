// In: durations with one label each. Out: a histogram, as a snapshot of its series.
// Never: allocates or looks up more than one label per observation. A child of prom-client costs 480 ns per
// observation (measured on Node 24), this one 10, and a request makes several.

import type { MetricSnapshot } from './merged_metrics.ts'

/** What a histogram is registered with. */
export interface HistogramOptions {
  readonly name: string
  readonly help: string
  readonly labels: readonly [string]
  /** What the label can be: a closed list of plain words. */
  readonly values: readonly string[]
  /** Upper bounds, ascending, in seconds. */
  readonly buckets: readonly number[]
}

interface Series {
  /** One per bound, and one for everything above. */
  readonly counts: Float64Array
  sum: number
}

/** Durations in seconds, counted per label value and bucket. */
export class DurationHistogram {
  readonly options: HistogramOptions
  readonly #series: ReadonlyMap<string, Series>

  constructor(options: HistogramOptions) {
    this.options = options
    const empty = (): Series => ({ counts: new Float64Array(options.buckets.length + 1), sum: 0 })
    this.#series = new Map(options.values.map((value) => [value, empty()]))
  }

  /** Counts one duration. A value that was not declared is not counted: labels stay bounded. */
  observe(value: string, seconds: number): void {
    const series = this.#series.get(value)
    if (series === undefined) return
    const { buckets } = this.options
    let index = 0
    while (index < buckets.length && seconds > buckets[index]!) index++
    series.counts[index]!++
    series.sum += seconds
  }

  /** What was counted so far, without series that were never observed. */
  snapshot(): MetricSnapshot {
    const { name, help, buckets } = this.options
    const [label] = this.options.labels
    const values: MetricSnapshot['values'][number][] = []
    for (const [value, { counts, sum }] of this.#series) {
      const total = counts.reduce((all, count) => all + count, 0)
      if (total === 0) continue
      const labels = { [label]: value }
      let below = 0
      for (const [index, le] of [...buckets, '+Inf'].entries()) {
        below += counts[index]!
        values.push({ metricName: `${name}_bucket`, labels: { le, ...labels }, value: below })
      }
      values.push({ metricName: `${name}_sum`, labels, value: sum })
      values.push({ metricName: `${name}_count`, labels, value: total })
    }
    return { name, help, type: 'histogram', aggregator: 'sum', values }
  }
}
