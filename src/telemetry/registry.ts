// In: rows of the table of metrics. Out: what can be counted, and the text and the snapshot of all of it. The only
// importer of prom-client. It never lets a metric be registered that is not in the table.
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { MetricSnapshot } from './merged_metrics.ts'
import type { MetricRow } from './metric_table.ts'

/** The values of labels. */
export type Labels = Readonly<Record<string, string | number>>

/** Tells of one series. */
export type Tell = (value: number, labels?: Labels) => void

type SnapshotOfOne = Awaited<ReturnType<Registry['getMetricsAsJSON']>>[number]

/** The metrics of one process, with those of the process itself. */
export class MetricRegistry {
  readonly #registry = new Registry()

  constructor() {
    collectDefaultMetrics({ register: this.#registry })
  }

  /** Adds to one series. */
  counter(row: MetricRow): (labels?: Labels, added?: number) => void {
    const counter = new Counter(this.#registered(row))
    return (labels = {}, added = 1) => counter.inc(labels, added)
  }

  /** Sets one series; the others of that metric are gone. */
  gauge(row: MetricRow): (value: number, labels: Labels) => void {
    const gauge = new Gauge(this.#registered(row))
    return (value, labels) => {
      gauge.reset()
      gauge.set(labels, value)
    }
  }

  /** What `telling` tells at each scrape, and nothing that it told before. */
  told(row: MetricRow, telling: (tell: Tell) => void): void {
    if (row.type === 'counter') {
      new Counter({
        ...this.#registered(row),
        collect() {
          this.reset()
          telling((value, labels = {}) => this.inc(labels, value))
        },
      })
      return
    }
    new Gauge({
      ...this.#registered(row),
      collect() {
        this.reset()
        telling((value, labels = {}) => this.set(labels, value))
      },
    })
  }

  /** The same about a source: `source`, until another one is named. */
  read<S>(row: MetricRow, source: S, telling: (source: S, tell: Tell) => void): (source: S) => void {
    let current = source
    this.told(row, (tell) => telling(current, tell))
    return (next) => {
      current = next
    }
  }

  async snapshot(): Promise<MetricSnapshot[]> {
    return (await this.#registry.getMetricsAsJSON()).map(snapshotOf)
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }

  /** What prom-client calls a row of the table. */
  #registered({ name, help, labels, across }: MetricRow) {
    const aggregator: MetricSnapshot['aggregator'] = across ?? 'sum'
    return { name, help, labelNames: [...labels], registers: [this.#registry], aggregator }
  }
}

/** prom-client's own types say that `type` is a number, and do not know `metricName`. */
function snapshotOf({ name, help, type, aggregator, values }: SnapshotOfOne): MetricSnapshot {
  const series = values as MetricSnapshot['values']
  return { name, help, type: String(type), aggregator, values: series }
}
